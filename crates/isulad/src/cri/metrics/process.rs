//! What the processes of a container hold open, from proc(5).

use std::fs;

/// Processes beyond these are counted, but not looked into: a container with very many must not
/// make a request take long.
const LOOKED_INTO: usize = 256;

/// The processes of a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Processes {
    /// How many there are.
    pub count: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Of them, sockets.
    pub sockets: u64,
    /// Soft limits of the first one: name and value, where there is a limit.
    pub limits: Vec<(String, u64)>,
}

impl Processes {
    /// Looks at processes; of one that has gone meanwhile there is nothing to tell.
    pub(super) async fn read(pids: Vec<i32>, init: Option<i32>) -> Self {
        let work = tokio::task::spawn_blocking(move || Self::read_now(&pids, init));
        // A look that fails is no news.
        work.await.unwrap_or_default()
    }

    fn read_now(pids: &[i32], init: Option<i32>) -> Self {
        let mut found = Self { count: pids.len() as u64, ..Self::default() };
        for pid in pids.iter().take(LOOKED_INTO) {
            let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
            for entry in entries {
                found.descriptors += 1;
                let target = fs::read_link(entry.path()).unwrap_or_default();
                found.sockets += u64::from(target.to_string_lossy().starts_with("socket:"));
            }
        }
        let limits = init.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/limits")).ok());
        found.limits = soft_limits(&limits.unwrap_or_default());
        found
    }
}

/// `Max open files            1024                 524288               files`
fn soft_limits(text: &str) -> Vec<(String, u64)> {
    let limit = |line: &str| {
        let (name, values) = line.split_at_checked(26)?;
        let soft = values.split_whitespace().next()?.parse().ok()?;
        Some((name.trim().to_ascii_lowercase().replace(' ', "_"), soft))
    };
    text.lines().skip(1).filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::{Processes, soft_limits};

    #[test]
    fn soft_limits_are_read_by_the_names_of_proc() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(soft_limits(text), [("max_open_files".to_owned(), 1024)]);
    }

    #[test]
    fn this_process_holds_something_open() {
        let own = i32::try_from(std::process::id()).unwrap();
        let (_socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let found = Processes::read_now(&[own], Some(own));
        assert_eq!(found.count, 1);
        assert!(found.sockets >= 2 && found.descriptors > found.sockets, "{found:?}");
        assert!(found.limits.iter().any(|(name, _)| name == "max_open_files"));
    }
}
