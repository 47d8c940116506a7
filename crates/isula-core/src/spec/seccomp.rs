//! The default seccomp profile.
