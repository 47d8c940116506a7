//! The processes of a container, read from the host's `/proc` alone.

use std::fs;

use isula_api::v1;

/// Clock ticks a second of proc_pid_stat(5): USER_HZ, 100 on every architecture we run on.
const TICKS: u64 = 100;

/// Docker's columns, as far as they mean something without a terminal to compare with.
pub(super) fn render(pids: &[i32]) -> v1::TopResponse {
    let titles = ["UID", "PID", "PPID", "TIME", "CMD"].map(str::to_owned).to_vec();
    // One that has ended since is left out.
    let rows = pids.iter().filter_map(|pid| row(*pid)).collect();
    v1::TopResponse { titles, rows }
}

fn row(pid: i32) -> Option<v1::TopRow> {
    let read = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
    let stat = String::from_utf8_lossy(&read("stat")?).into_owned();
    let status = String::from_utf8_lossy(&read("status")?).into_owned();
    let (name, parent, ticks) = facts(&stat)?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().next());
    let arguments = command(&read("cmdline")?).unwrap_or_else(|| format!("[{name}]"));
    let cells = [uid?.to_owned(), pid.to_string(), parent.to_string(), time(ticks), arguments];
    Some(v1::TopRow { cells: cells.to_vec() })
}

/// Name, parent and processor time of proc_pid_stat(5). The name stands in parentheses and may
/// contain some.
fn facts(stat: &str) -> Option<(&str, i32, u64)> {
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let user: u64 = fields.get(11)?.parse().ok()?;
    let system: u64 = fields.get(12)?.parse().ok()?;
    Some((name, fields.get(1)?.parse().ok()?, user.saturating_add(system)))
}

fn time(ticks: u64) -> String {
    let seconds = ticks / TICKS;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The argument vector on one line; `None` for a kernel thread or a zombie.
fn command(cmdline: &[u8]) -> Option<String> {
    let words: Vec<_> =
        cmdline.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word)).collect();
    let text = words.join(" ").trim_end().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{command, facts, render, time};

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 0 0 0 120 80 0 0 20 0 1 0 99";
        assert_eq!(facts(stat), Some(("a) b (c)", 3, 200)));
        assert_eq!(facts("7 (a"), None);
        assert_eq!(facts(""), None);
    }

    #[test]
    fn times_and_commands_read_as_in_ps() {
        assert_eq!(time(100 * (3600 * 26 + 61)), "26:01:01");
        assert_eq!(command(b"sh\0-c\0a b\0").as_deref(), Some("sh -c a b"));
        assert_eq!(command(b""), None);
    }

    #[test]
    fn this_process_is_there_and_one_that_is_gone_is_not() {
        let own = i32::try_from(std::process::id()).unwrap();
        let answer = render(&[own, i32::MAX]);
        assert_eq!(answer.rows.len(), 1);
        assert_eq!(answer.rows[0].cells[1], own.to_string());
        assert_eq!(answer.rows[0].cells.len(), answer.titles.len());
    }
}
