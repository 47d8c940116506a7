//! Whether a registry takes credentials (distribution-spec, "Determining Support").

use http::HeaderMap;
use isula_core::{
    error::{ErrorKind, PortError},
    image::Reference,
    ports::Credentials,
};
use tokio::task::spawn_blocking;

use super::{Client, request};

impl Client {
    /// Asks the registry itself, not its mirrors. No registry is asked for an identity token, so
    /// that there never is one to be kept.
    ///
    /// # Errors
    /// `PermissionDenied`: it does not take them. `InvalidInput`: `registry` is no `host[:port]`.
    pub async fn log_in(
        &self,
        registry: &str,
        credentials: Credentials,
    ) -> Result<Option<String>, PortError> {
        let invalid = || {
            let text = format!("invalid registry {registry:?}: it must be HOST[:PORT]");
            PortError::new(ErrorKind::InvalidInput, text)
        };
        // Any name will do: only the registry's own is used.
        let reference: Reference = format!("{registry}/login").parse().map_err(|_| invalid())?;
        if reference.registry() != registry {
            return Err(invalid());
        }
        let client = self.clone();
        let opened = spawn_blocking(move || client.session(&reference, Some(credentials))).await;
        let session = crate::stream::join(opened)?;
        let Some(endpoint) = session.registry() else { return Err(invalid()) };
        let headers = HeaderMap::new();
        match request::get(session.exchange(), endpoint, ("", ""), &headers).await {
            Ok(answer) => drop(answer),
            Err(error) => {
                let (kind, text) = (error.kind(), format!("cannot log in to {registry}"));
                return Err(PortError::with_source(kind, text, error));
            }
        }
        Ok(None)
    }
}
