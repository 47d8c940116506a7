//! The native API: what `isula` and `isulad` say to each other, generated from `api/isula/v1`.

#![forbid(unsafe_code)]

/// Version 1 of the API.
#[allow(
    missing_docs,
    clippy::all,
    clippy::too_many_lines,
    unused_qualifications,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("isula.v1");
}
