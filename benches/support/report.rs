//! What a bench found: tables for people, and the same figures as JSON (`--json FILE`) for the plots of
//! docs/performance.md.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::processes::cores;

/// The report of one run of a bench.
pub(crate) struct Report {
    bench: &'static str,
    file: Option<PathBuf>,
    tables: Vec<Value>,
    /// In the order in which they were found, which a JSON object would not keep.
    figures: Vec<(String, Value)>,
}

impl Report {
    /// Reads the arguments (`--json FILE`; `--bench` is cargo's own) and tells on what is measured.
    pub(crate) fn begin(bench: &'static str) -> anyhow::Result<Report> {
        let mut file = None;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--json" => {
                    let name = arguments.next().ok_or_else(|| anyhow::anyhow!("--json wants a file"))?;
                    file = Some(PathBuf::from(name));
                }
                "--bench" => {}
                other => anyhow::bail!("{other} is not known here; there is --json FILE"),
            }
        }
        println!("{bench}: {}", machine_line());
        Ok(Report { bench, file, tables: Vec::new(), figures: Vec::new() })
    }

    /// Prints a table. Its cells go into the JSON as they are printed, for the tables of the document.
    pub(crate) fn table(&mut self, title: &str, head: &[&str], rows: &[Vec<String>]) {
        println!("\n{title}\n");
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                let cells = rows.iter().map(|row| row[column].chars().count());
                cells.chain([head[column].chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let line = |cells: &[String]| {
            let padded: Vec<String> = cells
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
                .collect();
            println!("| {} |", padded.join(" | "));
        };
        line(&head.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>());
        println!("|{}|", widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|"));
        rows.iter().for_each(|row| line(row));
        self.tables.push(json!({ "title": title, "head": head, "rows": rows }));
    }

    /// Keeps a figure for the plots.
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.figures.push((name.into(), value.into()));
    }

    /// Writes the file, where one was asked for.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        let Some(file) = self.file else { return Ok(()) };
        let report = json!({
            "bench": self.bench,
            "machine": machine(),
            "tables": self.tables,
            "figures": self.figures,
        });
        std::fs::write(&file, serde_json::to_string_pretty(&report)? + "\n")?;
        println!("\nwritten to {}", file.display());
        Ok(())
    }
}

fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("?".into(), |(_, value)| value.trim().to_owned())
    };
    json!({
        "processor": field(&read("/proc/cpuinfo"), "model name"),
        "cores": cores(),
        "memory": field(&read("/proc/meminfo"), "MemTotal"),
        // Without what its builder calls it.
        "kernel": read("/proc/sys/kernel/osrelease").trim().split('-').next().unwrap_or_default(),
        "build": if cfg!(debug_assertions) { "with debug assertions" } else { "release" },
        "commit": commit(),
    })
}

/// The commit that the figures are of, where the sources are a checkout.
fn commit() -> String {
    let asked = std::process::Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--abbrev=12"])
        .output();
    asked.map_or_else(|_| String::new(), |told| String::from_utf8_lossy(&told.stdout).trim().to_owned())
}

fn machine_line() -> String {
    let machine = machine();
    let told = |name: &str| machine[name].to_string().replace('"', "");
    format!(
        "{}, {} cores, Linux {}, build {}",
        told("processor"),
        told("cores"),
        told("kernel"),
        told("build")
    )
}
