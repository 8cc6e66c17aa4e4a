//! What is counted, and what a process has used.

use std::io;
use std::time::Duration;

/// The value below which the given part of the sorted times lies, in microseconds.
pub(crate) fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let place = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// The processor time of processes and all that they started, in seconds. `ids` is a list with commas.
pub(crate) fn cpu(ids: &str) -> io::Result<f64> {
    let mut ticks = 0;
    for id in family(ids)? {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // The name, in parentheses, may have spaces in it.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |place: usize| fields.get(place).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        ticks += field(11) + field(12);
    }
    // USER_HZ is 100 on every Linux that these benchmarks run on.
    Ok(ticks as f64 / 100.0)
}

/// The processes and their descendants.
fn family(ids: &str) -> io::Result<Vec<u32>> {
    let mut found: Vec<u32> = ids.split(',').filter_map(|id| id.trim().parse().ok()).collect();
    let mut parents = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(text) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let parent =
            text.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.push((id, parent.unwrap_or(0)));
    }
    let mut looked = 0;
    while let Some(parent) = found.get(looked).copied() {
        let children = parents.iter().filter(|(id, of)| *of == parent && !found.contains(id));
        let children: Vec<u32> = children.map(|(id, _)| *id).collect();
        found.extend(children);
        looked += 1;
    }
    Ok(found)
}
