//! The service of the engine itself.

use isula_api::v1::{self, system_server::System};
use isula_core::container::LogDriver;
use tonic::{Request, Response, Status, async_trait};

use super::Api;

/// Version of the native API.
const API_VERSION: &str = "1.0";
/// Version of the OCI runtime-spec that is implemented.
const OCI_RUNTIME_SPEC: &str = "1.3.0";

#[async_trait]
impl System for Api {
    async fn version(
        &self,
        _: Request<v1::VersionRequest>,
    ) -> Result<Response<v1::VersionResponse>, Status> {
        let facts = self.engine.ports().host.facts();
        Ok(Response::new(v1::VersionResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            api_version: API_VERSION.to_owned(),
            oci_runtime_spec: OCI_RUNTIME_SPEC.to_owned(),
            git_commit: option_env!("ISULA_GIT_COMMIT").unwrap_or_default().to_owned(),
            architecture: facts.architecture.clone(),
            kernel: facts.kernel.clone(),
        }))
    }

    async fn info(
        &self,
        _: Request<v1::InfoRequest>,
    ) -> Result<Response<v1::InfoResponse>, Status> {
        let facts = self.engine.ports().host.facts();
        let counts = self.engine.counts();
        let settings = self.engine.settings();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let paths = &self.about.paths;
        Ok(Response::new(v1::InfoResponse {
            containers: count(counts.containers),
            running: count(counts.running),
            paused: count(counts.paused),
            stopped: count(counts.stopped),
            images: count(counts.images),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            storage_driver: "overlay2".to_owned(),
            logging_driver: match settings.default_log.driver {
                LogDriver::JsonFile => "json-file".to_owned(),
                LogDriver::None => "none".to_owned(),
            },
            cgroup_driver: settings.cgroup_driver.name().to_owned(),
            cgroup_version: if facts.cgroup_v2 { 2 } else { 1 },
            kernel: facts.kernel.clone(),
            operating_system: facts.operating_system.clone(),
            os_type: "linux".to_owned(),
            architecture: facts.architecture.clone(),
            cpus: facts.cpus,
            memory: facts.memory,
            name: facts.hostname.clone(),
            root_dir: paths.data_root.display().to_string(),
            state_dir: paths.state_dir.display().to_string(),
            runtimes: self.engine.ports().runtime.runtimes(),
            default_runtime: settings.default_runtime.clone(),
            huge_page_sizes: huge_page_sizes(),
            registry_mirrors: self.about.mirrors.clone(),
            insecure_registries: self.about.insecure_registries.clone(),
            damage: self.engine.damage(),
            http_proxy: proxy(self.about.proxies.http_proxy.as_deref(), "http_proxy"),
            https_proxy: proxy(self.about.proxies.https_proxy.as_deref(), "https_proxy"),
            no_proxy: self.about.proxies.no_proxy.clone().unwrap_or_else(|| variable("no_proxy")),
        }))
    }
}

/// The variable of a proxy, lower case first, as the registry client reads it.
fn variable(name: &str) -> String {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    set(name).or_else(|| set(&name.to_ascii_uppercase())).unwrap_or_default()
}

fn proxy(configured: Option<&str>, name: &str) -> String {
    without_credentials(&configured.map_or_else(|| variable(name), str::to_owned))
}

/// A URL without the user and the password in it.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}xxxxx:xxxxx@{host}"),
        None => url.to_owned(),
    }
}

/// The sizes of huge pages as `--hugetlb-limit` names them.
fn huge_page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let mut sizes: Vec<u64> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()
        })
        .collect();
    sizes.sort_unstable();
    sizes.into_iter().map(page_size).collect()
}

/// A size in KiB with the largest unit that divides it, as the kernel's cgroup files have it.
fn page_size(kib: u64) -> String {
    match kib {
        gib if gib % (1 << 20) == 0 => format!("{}GB", gib >> 20),
        mib if mib % (1 << 10) == 0 => format!("{}MB", mib >> 10),
        kib => format!("{kib}KB"),
    }
}

#[cfg(test)]
mod tests {
    use super::{page_size, without_credentials};

    #[test]
    fn the_password_of_a_proxy_is_not_shown() {
        for (url, shown) in [
            ("http://proxy:3128", "http://proxy:3128"),
            ("http://me:p@ss@proxy:3128", "http://xxxxx:xxxxx@proxy:3128"),
            ("me:secret@proxy", "xxxxx:xxxxx@proxy"),
            ("", ""),
        ] {
            assert_eq!(without_credentials(url), shown);
        }
    }

    #[test]
    fn page_sizes_have_the_kernels_names() {
        assert_eq!([64, 2048, 1 << 20].map(page_size), ["64KB", "2MB", "1GB"]);
    }
}
