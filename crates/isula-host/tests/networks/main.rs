//! Networks with the real kernel. Each test has a network and a mount namespace of its own for a
//! host: what it makes, even what it leaves behind when it is killed, goes with them.

#![cfg(test)]

mod crash;
mod many;
mod native;
mod programs;
mod reference;
mod world;
