//! The native API: what `isula` and `isulad` say to each other, generated from `api/isula/v1`; and
//! the Container Runtime Interface, what kubelet and `isulad` say, from `api/runtime/v1`.

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

/// The Container Runtime Interface of Kubernetes (k8s.io/cri-api).
#[cfg(feature = "cri")]
pub mod runtime {
    /// Version 1 of it.
    #[allow(
        missing_docs,
        clippy::all,
        clippy::too_many_lines,
        unused_qualifications,
        reason = "generated code"
    )]
    pub mod v1 {
        tonic::include_proto!("runtime.v1");
    }
}
