//! The keys of the Container Runtime Interface.

use std::{collections::BTreeMap, path::PathBuf};

use isula_core::image::Reference;

use super::{
    Certificate, ConfigError, Cri,
    keys::{File, StreamingTls},
    resolve::{Sources, absolute},
};

impl Sources<'_> {
    pub(super) fn cri(
        &self,
        file: &File,
        runtimes: &BTreeMap<String, (String, Vec<String>)>,
    ) -> Result<Cri, ConfigError> {
        let handlers = file.cri_runtimes.clone().unwrap_or_default();
        for (handler, runtime) in &handlers {
            if handler.is_empty() {
                let message = "a handler has no name: default-runtime is the default one";
                return Err(self.wrong("cri-runtimes", message));
            }
            if runtime != "lcr" && !runtimes.contains_key(runtime) {
                let message = format!("unknown runtime {runtime:?}: it is not among the runtimes");
                return Err(self.wrong("cri-runtimes", message));
            }
        }
        let pinned = file.pinned_images.iter().flatten().map(|text| self.pinned(text));
        Ok(Cri {
            runtimes: handlers,
            pinned_images: pinned.collect::<Result<_, _>>()?,
            pod_events: file.enable_pod_events.unwrap_or(true),
            streaming_port: file.streaming_port.unwrap_or(0),
            streaming_tls: self.streaming_tls(file)?,
        })
    }

    /// Both files or none; whether they can be used is seen when they are read.
    fn streaming_tls(&self, file: &File) -> Result<Option<Certificate>, ConfigError> {
        const KEY: &str = "websocket-server-tls-config";
        let StreamingTls { cert_file, key_file } = file.streaming_tls.clone().unwrap_or_default();
        match (cert_file.is_empty(), key_file.is_empty()) {
            (true, true) => return Ok(None),
            (false, true) => return Err(self.wrong(KEY, "CertFile needs KeyFile")),
            (true, false) => return Err(self.wrong(KEY, "KeyFile needs CertFile")),
            (false, false) => {}
        }
        let path = |text: String| absolute(self.origin(KEY), PathBuf::from(text));
        Ok(Some(Certificate { chain: path(cert_file)?, key: path(key_file)? }))
    }

    /// A pinned image: a beginning as it stands, a reference in its full form.
    fn pinned(&self, text: &str) -> Result<String, ConfigError> {
        if text.ends_with('*') {
            return Ok(text.to_owned());
        }
        let reference: Result<Reference, _> = text.parse();
        reference
            .map(|reference| reference.to_string())
            .map_err(|error| self.wrong("pinned-images", error.to_string()))
    }
}
