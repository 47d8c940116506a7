//! The registry client and pulls, against a registry that the test plays and against a real one.

#[cfg(test)]
mod auth;
#[cfg(test)]
mod debian;
#[cfg(test)]
mod fetch;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod image;
#[cfg(test)]
mod pull;
#[cfg(test)]
mod server;
#[cfg(test)]
mod tls;
