//! Pods and containers over the Container Runtime Interface, above all what hostile ones try.

mod cdi;
mod floods;
mod identity;
mod injection;
mod logs;
mod network;
mod tls;
mod tokens;
