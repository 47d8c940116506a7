//! TLS: which certificates are trusted, and which we show.

use std::{
    error::Error,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use tokio_rustls::rustls::{
    self, AlertDescription, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use super::{
    hosts::Connection,
    origin::{Origin, bracketed},
    settings::{Settings, Trust},
};

/// Largest certificate file that is read; the bundle of a distribution has 250 KiB.
const FILE_LIMIT: u64 = 4 * 1024 * 1024;
/// Most certificate files of one registry.
const FILES_LIMIT: usize = 64;

/// A configured certificate or key can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct CertificateError {
    path: String,
    reason: String,
}

impl CertificateError {
    fn new(path: &Path, reason: impl ToString) -> Self {
        Self { path: path.display().to_string(), reason: reason.to_string() }
    }
}

/// A registry's own certificates, from its directory below `certs_dir`.
#[derive(Default)]
struct Own {
    authorities: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Own {
    /// Adds what `hosts.toml` names. Of several client certificates the first counts.
    fn add(&mut self, way: &Connection) -> Result<(), CertificateError> {
        for path in &way.authorities {
            self.authorities.extend(certificates(path)?);
        }
        if let Some((path, key)) = way.clients.first() {
            let key_path = key.as_ref().unwrap_or(path);
            self.client = Some((certificates(path)?, private_key(key_path)?));
        }
        Ok(())
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| CertificateError::new(path, error))
}

/// Makes the configuration for connections to `origin`. Blocks on small files. `sender` is the
/// registry that sent us there by a realm or a redirect, if one did: whoever signs for it may sign
/// for those, too, which are mostly its neighbours. Our own certificate is for the registry alone.
pub(super) fn configuration(
    settings: &Settings,
    (origin, way): (&Origin, &Connection),
    trust: Trust,
    sender: Option<(&Origin, &Connection)>,
) -> Result<ClientConfig, CertificateError> {
    let mut own = own_certificates(settings, origin)?;
    own.add(way)?;
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| CertificateError { path: "tls".to_owned(), reason: error.to_string() })?;
    let verified = match trust {
        Trust::Verified => true,
        // Whoever configured an authority for a registry on this host wants it to be asked.
        Trust::Loopback => !own.authorities.is_empty(),
        Trust::Insecure => false,
    };
    if let Some((registry, way)) = sender {
        let mut its = own_certificates(settings, registry)?;
        its.add(way)?;
        own.authorities.append(&mut its.authorities);
    }
    let with_roots = if verified {
        versions.with_root_certificates(roots(settings, own.authorities))
    } else {
        versions.dangerous().with_custom_certificate_verifier(Arc::new(Anyone { provider }))
    };
    let mut configuration = match own.client {
        Some((chain, key)) => with_roots.with_client_auth_cert(chain, key).map_err(|error| {
            CertificateError::new(&settings.certs_dir.join(origin.authority()), error)
        })?,
        None => with_roots.with_no_client_auth(),
    };
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(configuration)
}

/// The built-in set, the host's bundle and the registry's own authorities.
fn roots(settings: &Settings, own: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // A bundle is made by many hands: what can't be read in it is left out.
    if let Ok(bundle) = read(&settings.ca_bundle) {
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
    }
    roots.add_parsable_certificates(own);
    roots
}

fn own_certificates(settings: &Settings, origin: &Origin) -> Result<Own, CertificateError> {
    let host = bracketed(&origin.host);
    let mut names = vec![format!("{host}:{}", origin.port), host];
    if &*origin.host == super::endpoint::HUB_HOST {
        names.push("docker.io".to_owned());
    }
    // A host of dots must not lead out of the directory.
    let names = names.iter().filter(|name| !name.starts_with('.'));
    let folder = names.map(|name| settings.certs_dir.join(name)).find(|folder| folder.is_dir());
    let Some(folder) = folder else { return Ok(Own::default()) };
    let entries = folder.read_dir().map_err(|error| CertificateError::new(&folder, error))?;
    let mut files: Vec<_> = entries.flatten().take(FILES_LIMIT).map(|entry| entry.path()).collect();
    files.sort();

    let mut own = Own::default();
    for path in files {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => own.authorities.extend(certificates(&path)?),
            Some("cert") => {
                let key = private_key(&path.with_extension("key"))?;
                own.client = Some((certificates(&path)?, key));
            }
            _ => {}
        }
    }
    Ok(own)
}

/// What the other side said if it does not take our certificate or misses one (RFC 8446 section 6.2).
pub(super) fn refusal(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let alert = match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => alert,
            _ => {
                cause = error.source();
                continue;
            }
        };
        let ours = matches!(
            alert,
            AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateRequired
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
        );
        return ours.then(|| format!("{alert:?}"));
    }
    None
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let pem = read(path)?;
    let list: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| CertificateError::new(path, error))?;
    if list.is_empty() {
        return Err(CertificateError::new(path, "it holds no certificate"));
    }
    for certificate in &list {
        let mut trial = RootCertStore::empty();
        trial.add(certificate.clone()).map_err(|error| CertificateError::new(path, error))?;
    }
    Ok(list)
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_LIMIT).read_to_end(&mut bytes))
        .map_err(|error| CertificateError::new(path, error))?;
    Ok(bytes)
}

/// Takes any certificate, for registries that the operator listed as insecure.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
