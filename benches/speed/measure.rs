//! Time and memory.

use std::time::{Duration, Instant};

/// What some repetitions took.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(crate) struct Times {
    /// Of the quickest one, seconds.
    pub(crate) best: f64,
    /// Of the one in the middle, seconds.
    pub(crate) median: f64,
    pub(crate) n: usize,
}

/// Repeats `f`, which says how long it took, after one run that does not count; until `budget` is used up, three times at least where the first
/// run shows that three fit twice the budget.
pub(crate) fn repeat(budget: Duration, mut f: impl FnMut() -> Duration) -> Times {
    let start = Instant::now();
    let warm_up = f();
    let mut times = vec![];
    if 3 * warm_up > 2 * budget {
        times.push(warm_up);
    }
    while times.is_empty() || (start.elapsed() < budget && times.len() < 200) || (times.len() < 3 && 3 * warm_up <= 2 * budget) {
        times.push(f());
        if 3 * warm_up > 2 * budget {
            break;
        }
    }
    times.sort();
    Times {
        best: times[0].as_secs_f64(),
        median: times[times.len() / 2].as_secs_f64(),
        n: times.len(),
    }
}

/// How long `f` took.
pub(crate) fn time(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

/// Forgets how much memory this process has had at the most, so that [`peak_memory`] speaks of what comes now.
pub(crate) fn forget_peak_memory() {
    // Only Linux has this; elsewhere no memory is reported.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that this process has had, in bytes, where the system tells.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}
