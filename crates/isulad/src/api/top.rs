//! What `top` shows, read from the host's /proc alone: nothing of the container is trusted.

use std::fs;

use isula_api::v1;

const TITLES: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
/// Clock ticks a second in `/proc/PID/stat` (`USER_HZ`, fixed at 100 on the architectures we build
/// for).
const TICKS: u64 = 100;

/// The table of these processes; one that has ended meanwhile is left out.
pub(super) fn render(pids: &[i32]) -> v1::TopResponse {
    let titles = TITLES.iter().map(ToString::to_string).collect();
    let uptime = seconds_up();
    let rows = pids.iter().filter_map(|pid| row(*pid, uptime)).collect();
    v1::TopResponse { titles, rows }
}

fn seconds_up() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    text.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default()
}

/// proc_pid_stat(5), proc_pid_status(5) and proc_pid_cmdline(5).
fn row(pid: i32, uptime: u64) -> Option<v1::TopRow> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    // The name in parentheses may hold anything: the last one closes it.
    let (name, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    let used = (number(11)? + number(12)?) / TICKS;
    let started = number(19)? / TICKS;
    let alive = uptime.saturating_sub(started).max(1);
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let uid = uid.and_then(|ids| ids.split_whitespace().next())?;
    let command = match command.is_empty() {
        true => format!("[{}]", name.split_once('(').map_or("", |(_, name)| name)),
        false => {
            let words = command.split(|byte| *byte == 0).filter(|word| !word.is_empty());
            words.map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
        }
    };
    let cells = vec![
        uid.to_owned(),
        pid.to_string(),
        number(1)?.to_string(),
        (used * 100 / alive).min(99).to_string(),
        clock(started),
        terminal(number(4)?),
        format!("{:02}:{:02}:{:02}", used / 3600, used / 60 % 60, used % 60),
        // A control character must not reach the user's terminal.
        command.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
    ];
    Some(v1::TopRow { cells })
}

/// The time of day (UTC) so many seconds after the boot.
fn clock(after_boot: u64) -> String {
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime "));
    let boot: u64 = boot.and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
    let at = boot + after_boot;
    format!("{:02}:{:02}", at / 3600 % 24, at / 60 % 60)
}

/// proc_pid_stat(5), field 7: pseudo terminals have major numbers 136 to 143.
fn terminal(device: u64) -> String {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    match major {
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{render, terminal};

    #[test]
    fn a_process_of_the_host_has_a_row_and_one_that_is_gone_has_none() {
        let own = i32::try_from(std::process::id()).unwrap();
        let table = render(&[own, i32::MAX]);
        assert_eq!(table.rows.len(), 1);
        assert_eq!(table.rows[0].cells.len(), table.titles.len());
        assert_eq!(table.rows[0].cells[1], own.to_string());
    }

    #[test]
    fn terminals_have_names() {
        assert_eq!(terminal(0), "?");
        assert_eq!(terminal(136 << 8 | 3), "pts/3");
    }
}
