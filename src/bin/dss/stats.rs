//! Figures for monitoring, in the text format of Prometheus
//! (prometheus.io/docs/instrumenting/exposition_formats).

use super::{
    args::{Common, Stats},
    exit::{Exit, Failure},
    list::{filter_of, rows},
    output::{self, Row},
    store::Store,
};
use serde_json::json;
use std::time::Instant;

/// Ages of locks in seconds, for a histogram.
const AGES_S: [u64; 6] = [1, 10, 60, 600, 3600, 86_400];

pub fn stats(common: &Common, stats: &Stats) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let store = Store::existing(common, None)?;
    let rows = rows(&store, filter_of(&stats.which))?;
    let took_s = begun.elapsed().as_secs_f64();
    let leased = rows.iter().filter(|row| row.ttl_ms != 0).count();
    let oldest_s = rows.iter().map(|row| row.held_ms / 1000).max().unwrap_or(0);
    if common.json {
        let content = json!({"locks": rows.len(), "leased": leased, "oldest_held_s": oldest_s, "list_s": took_s});
        output::print_json(&store.name, "stats", content)?;
        return Ok(Exit::Done);
    }
    let mut text = format!("# The store is {}\n", store.name);
    metric(&mut text, "dss_up", "gauge", "Whether the store could be opened and read.", "1");
    metric(&mut text, "dss_locks", "gauge", "Locks that are held.", &rows.len().to_string());
    metric(&mut text, "dss_locks_with_lease", "gauge", "Those of them that end by themselves.", &leased.to_string());
    metric(&mut text, "dss_list_seconds", "gauge", "How long it took to read them.", &format!("{took_s:.6}"));
    metric(&mut text, "dss_lock_held_max_seconds", "gauge", "How long the oldest is held.", &oldest_s.to_string());
    histogram(&mut text, &rows);
    output::print(&text)?;
    Ok(Exit::Done)
}

fn metric(text: &mut String, name: &str, kind: &str, help: &str, value: &str) {
    *text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
}

fn histogram(text: &mut String, rows: &[Row]) {
    let name = "dss_lock_held_seconds";
    *text += &format!("# HELP {name} How long locks are held.\n# TYPE {name} histogram\n");
    for age_s in AGES_S {
        let count = rows.iter().filter(|row| row.held_ms <= age_s * 1000).count();
        *text += &format!("{name}_bucket{{le=\"{age_s}\"}} {count}\n");
    }
    let sum: u64 = rows.iter().map(|row| row.held_ms).sum();
    *text += &format!("{name}_bucket{{le=\"+Inf\"}} {}\n", rows.len());
    *text += &format!("{name}_sum {}\n{name}_count {}\n", sum as f64 / 1000.0, rows.len());
}
