//! What processes cost: processor time and memory of a process and all below it, from `/proc`.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// Ticks of `/proc/PID/stat` in a second: the same on every Linux of the architectures that there are.
const TICKS: f64 = 100.0;

/// Processor time that this process and all below it have used, user and system, those that have ended and
/// been waited for included; in seconds.
pub(crate) fn cpu_seconds() -> f64 {
    cpu_seconds_of(std::process::id())
}

/// The same of another process.
pub(crate) fn cpu_seconds_of(root: u32) -> f64 {
    let all = all();
    below(root, &all).into_iter().filter_map(|pid| all.get(&pid)).map(|stat| stat.ticks as f64 / TICKS).sum()
}

/// A process and all below it.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    below(root, &all())
}

struct Stat {
    parent: u32,
    ticks: u64,
}

fn all() -> HashMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, stat(pid)?))
        })
        .collect()
}

/// Fields of proc_pid_stat(5): 4 is the parent, 14 to 17 the ticks, its own and those of children waited for.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ticks })
}

fn below(root: u32, all: &HashMap<u32, Stat>) -> Vec<u32> {
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

/// Processor seconds of everything below this process, and the time that passed, while `work` lasts.
pub(crate) async fn measured<T>(work: impl Future<Output = T>) -> (T, Cost) {
    let (cpu, started) = (cpu_seconds(), Instant::now());
    let result = work.await;
    (result, Cost { cpu_seconds: cpu_seconds() - cpu, wall_seconds: started.elapsed().as_secs_f64() })
}

/// What something took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) cpu_seconds: f64,
    pub(crate) wall_seconds: f64,
}

/// How often a thing is done in `time` by as many threads as there are cores, each with a `work` of its own,
/// and what it costs each time: processor microseconds of all processes.
pub(crate) fn repeated<W: FnMut() -> anyhow::Result<()> + Send>(
    time: Duration,
    mut work: impl FnMut() -> anyhow::Result<W>,
) -> anyhow::Result<f64> {
    let workers = (0..cores()).map(|_| work()).collect::<Result<Vec<_>, _>>()?;
    let (cpu, end) = (cpu_seconds(), Instant::now() + time);
    let counts = std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .into_iter()
            .map(|mut work| {
                scope.spawn(move || -> anyhow::Result<(u64, W)> {
                    let mut count = 0;
                    while Instant::now() < end {
                        for _ in 0..16 {
                            work()?;
                        }
                        count += 16;
                    }
                    Ok((count, work))
                })
            })
            .collect();
        let ended = threads.into_iter().map(|thread| thread.join().expect("the work does not panic"));
        // What they have, other processes among it, is let go when the clock has been read.
        ended.collect::<Result<Vec<_>, _>>()
    })?;
    let spent = cpu_seconds() - cpu;
    let count: u64 = counts.iter().map(|(count, _)| count).sum();
    Ok(spent * 1e6 / count as f64)
}

/// Cores that there are for this process.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Memory of processes, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Resident, each process by itself.
    pub(crate) resident: u64,
    /// Resident, what processes share in parts.
    pub(crate) proportional: u64,
    /// Of memory files that are open and mapped nowhere, all that they hold.
    pub(crate) unmapped_files: u64,
}

impl Memory {
    /// What these processes take of the machine.
    pub(crate) fn taken(&self) -> u64 {
        self.proportional + self.unmapped_files
    }
}

/// The memory of these processes. Fails where this user may not look into them: workers are sealed, so that
/// only root may.
pub(crate) fn memory(pids: &[u32]) -> anyhow::Result<Memory> {
    let mut sum = Memory::default();
    let mut files: HashMap<u64, u64> = HashMap::new();
    let mut mapped: Vec<u64> = Vec::new();
    for pid in pids {
        let rollup = match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
            Ok(rollup) => rollup,
            // It ended meanwhile.
            Err(_) if fs::metadata(format!("/proc/{pid}")).is_err() => continue,
            Err(error) => anyhow::bail!("/proc/{pid}/smaps_rollup: {error}; run the bench as root"),
        };
        sum.resident += kib(&rollup, "Rss:") * 1024;
        sum.proportional += kib(&rollup, "Pss:") * 1024;
        mapped.extend(memory_files_mapped(*pid));
        files.extend(memory_files_open(*pid));
    }
    sum.unmapped_files =
        files.iter().filter(|(inode, _)| !mapped.contains(inode)).map(|(_, bytes)| bytes).sum();
    Ok(sum)
}

/// The figure of a line such as `Pss:    123 kB`.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Inodes of the memory files that a process has mapped (the sixth column of proc_pid_maps(5) names them).
fn memory_files_mapped(pid: u32) -> Vec<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let files = maps.lines().filter(|line| line.contains("/memfd:"));
    files.filter_map(|line| line.split_whitespace().nth(4)?.parse().ok()).collect()
}

/// Inodes and bytes of the memory files that a process has open.
fn memory_files_open(pid: u32) -> Vec<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    open.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        if !target.to_string_lossy().starts_with("/memfd:") {
            return None;
        }
        let file = fs::metadata(entry.path()).ok()?;
        Some((file.ino(), file.blocks() * 512))
    })
    .collect()
}
