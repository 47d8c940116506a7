//! Fakes of the ports, and conformance suites that fakes and adaptors both pass.
