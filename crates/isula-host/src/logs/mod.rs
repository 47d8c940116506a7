//! Reserved: written beside its first user.
