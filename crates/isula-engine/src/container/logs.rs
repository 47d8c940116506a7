//! `logs`.

use isula_core::{
    container::LogDriver,
    ports::{ItemStream, LogOptions, LogRecord, LogSource},
};

use crate::{Engine, Error, Result};

impl Engine {
    /// What a container has written; with `follow` also what it writes until it ends.
    ///
    /// # Errors
    /// Its log driver keeps nothing that could be read.
    pub async fn logs(&self, query: &str, options: LogOptions) -> Result<ItemStream<LogRecord>> {
        let container = self.index.find(query)?.container();
        let cri_log = container.pod.as_ref().and_then(|pod| pod.log.clone());
        let nowhere = match &container.pod {
            Some(_) => cri_log.is_none(),
            None => container.host.log.driver == LogDriver::None,
        };
        if nowhere {
            return Err(Error::NoLog(query.to_owned()));
        }
        let source = LogSource {
            id: container.id.clone(),
            bundle: self.ports.records.directory(&container.id, &container.host.runtime),
            log: container.host.log.clone(),
            cri_log,
        };
        self.port(&container, "read its log", self.ports.runtime.logs(source, options)).await
    }
}
