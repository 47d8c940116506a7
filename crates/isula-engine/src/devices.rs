//! Devices of the Container Device Interface: what they change in a container is looked up at each
//! start, since what a driver offers may change between two.

use std::sync::Arc;

use isula_core::{
    cdi::CdiName,
    container::{Container, Invalid},
    error::{ErrorKind, PortError},
    ports::CdiEdits,
};

use crate::{Engine, Result};

impl Engine {
    /// What the devices of a container change in it.
    ///
    /// # Errors
    /// One of them is not known, or can't be had.
    pub(crate) async fn cdi_edits(&self, container: &Container) -> Result<CdiEdits> {
        let names = container.host.cdi_devices.iter().map(|name| CdiName::parse(name));
        let names: Vec<CdiName> = names.collect::<Result<_, _>>().map_err(Invalid::from)?;
        if names.is_empty() {
            return Ok(CdiEdits::default());
        }
        let cdi = Arc::clone(&self.ports.cdi);
        let work = async {
            match tokio::task::spawn_blocking(move || cdi.edits(&names)).await {
                Ok(edits) => edits,
                Err(error) => {
                    let text = "the look-up of devices failed";
                    Err(PortError::with_source(ErrorKind::Internal, text, error))
                }
            }
        };
        self.port(container, "give it its devices", work).await
    }
}
