//! The OCI runtime spec that a container becomes, and what is refused on the way.

pub mod seccomp;
