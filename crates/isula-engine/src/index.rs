//! Names and ids of containers.
