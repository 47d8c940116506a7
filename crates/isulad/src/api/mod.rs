//! The services.
pub mod containers;
pub mod convert;
pub mod session;
pub mod status;
