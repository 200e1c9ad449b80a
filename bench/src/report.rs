//! The results: tables for people, JSON for programs, and the goals.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::machine::About;

/// The results of one part.
#[derive(Debug)]
pub struct Report {
    /// The command, and the name of the files.
    pub name: &'static str,
    pub title: &'static str,
    /// Said before the tables.
    pub notes: Vec<String>,
    pub tables: Vec<Table>,
    pub goals: Vec<Goal>,
    /// The results for programs: an array of objects.
    pub data: Vec<Value>,
}

#[derive(Debug)]
pub struct Table {
    pub title: String,
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// A number that was to be reached.
#[derive(Debug)]
pub struct Goal {
    pub what: String,
    pub limit: Limit,
    /// `None` if it could not be measured.
    pub reached: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
pub enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    pub fn at_most(what: impl Into<String>, limit: f64, reached: Option<f64>) -> Self {
        Self {
            what: what.into(),
            limit: Limit::AtMost(limit),
            reached,
        }
    }

    pub fn at_least(what: impl Into<String>, limit: f64, reached: Option<f64>) -> Self {
        Self {
            what: what.into(),
            limit: Limit::AtLeast(limit),
            reached,
        }
    }

    fn is_met(&self) -> Option<bool> {
        let reached = self.reached?;
        Some(match self.limit {
            Limit::AtMost(limit) => reached <= limit,
            Limit::AtLeast(limit) => reached >= limit,
        })
    }

    fn limit(&self) -> String {
        match self.limit {
            Limit::AtMost(limit) => format!("≤ {}", number(limit)),
            Limit::AtLeast(limit) => format!("≥ {}", number(limit)),
        }
    }

    pub fn to_json(&self) -> Value {
        json!({
            "goal": self.what,
            "limit": self.limit(),
            "reached": self.reached,
            "met": self.is_met(),
        })
    }
}

/// Returns the row of a goal, as [`Goal::to_json`] describes it.
fn row_of_goal(goal: &Value) -> Vec<String> {
    let text = |name: &str| goal[name].as_str().unwrap_or_default().to_owned();
    let reached = goal["reached"].as_f64();
    let met = match goal["met"].as_bool() {
        Some(true) => "yes",
        Some(false) => "**no**",
        None => "",
    };
    vec![
        text("goal"),
        text("limit"),
        reached.map_or("not measured".to_owned(), number),
        met.to_owned(),
    ]
}

impl Table {
    pub fn new(title: impl Into<String>, head: &[&str]) -> Self {
        Self {
            title: title.into(),
            head: head.iter().map(|word| (*word).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub fn to_markdown(&self) -> String {
        let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = String::new();
        if !self.title.is_empty() {
            text += &format!("### {}\n\n", self.title);
        }
        text += &row(&self.head);
        // Names to the left, numbers to the right.
        let mut line = vec!["---:".to_owned(); self.head.len()];
        line[0] = "---".to_owned();
        text += &row(&line);
        text += &self.rows.iter().map(|cells| row(cells)).collect::<String>();
        text
    }
}

impl Report {
    pub fn new(name: &'static str, title: &'static str) -> Self {
        Self {
            name,
            title,
            notes: Vec::new(),
            tables: Vec::new(),
            goals: Vec::new(),
            data: Vec::new(),
        }
    }

    /// Says, once, on stderr and before the tables, that something is left out.
    pub fn leave_out(&mut self, what: &str, error: &dyn Error) {
        let what = format!("{what} is left out: ");
        if !self.notes.iter().any(|note| note.starts_with(&what)) {
            let note = format!("{what}{error}.");
            eprintln!("  {note}");
            self.notes.push(note);
        }
    }

    pub fn to_markdown(&self) -> String {
        let mut text = format!("## {}\n", self.title);
        for note in &self.notes {
            text += &format!("\n{note}\n");
        }
        for table in &self.tables {
            text += &format!("\n{}", table.to_markdown());
        }
        text
    }

    /// Writes `NAME.json` and `NAME.md`.
    pub fn save(&self, directory: &Path, about: &About) -> Result<(), Box<dyn Error>> {
        fs::create_dir_all(directory)?;
        let goals: Vec<_> = self.goals.iter().map(Goal::to_json).collect();
        let json = json!({ "about": about.to_json(), "data": self.data, "goals": goals });
        let json = serde_json::to_string_pretty(&json)? + "\n";
        fs::write(directory.join(format!("{}.json", self.name)), json)?;
        let markdown = self.to_markdown();
        fs::write(directory.join(format!("{}.md", self.name)), markdown)?;
        Ok(())
    }
}

/// Writes the recorded results of `parts` into `tables.md`: those that were just measured, and the
/// others as they were measured last.
pub fn save_all(directory: &Path, about: &About, parts: &[&str]) -> Result<(), Box<dyn Error>> {
    let (mut goals, mut tables) = (Vec::new(), String::new());
    for part in parts {
        let path = |end: &str| directory.join(format!("{part}.{end}"));
        let Ok(json) = fs::read_to_string(path("json")) else {
            continue; // It was left out.
        };
        let json: Value = serde_json::from_str(&json)?;
        goals.extend(json["goals"].as_array().into_iter().flatten().cloned());
        tables += &format!("\n{}", fs::read_to_string(path("md"))?);
    }
    let text = format!(
        "{}\n{}{tables}",
        about.to_markdown(),
        goals_to_markdown(goals)
    );
    fs::write(directory.join("tables.md"), text)?;
    Ok(())
}

/// Puts `tables.md` into the README, in the place of what is there.
pub fn save_to_readme(directory: &Path) -> Result<(), Box<dyn Error>> {
    const MARKS: [&str; 2] = ["<!-- measured -->\n", "<!-- /measured -->\n"];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(&path)?;
    let tables = fs::read_to_string(directory.join("tables.md"))?;
    // Its sections are subsections there.
    let tables = tables
        .replace("\n### ", "\n#### ")
        .replace("\n## ", "\n### ");
    let parts = readme.split_once(MARKS[0]).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(MARKS[1])?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or("the README has no place for the tables")?;
    let [begin, end] = MARKS;
    fs::write(&path, format!("{before}{begin}\n{tables}\n{end}{after}"))?;
    Ok(())
}

/// Formats goals, as [`Goal::to_json`] describes them, with the values that were reached.
pub fn goals_to_markdown(goals: impl IntoIterator<Item = Value>) -> String {
    let mut table = Table::new("", &["goal", "limit", "reached", "met"]);
    table.rows = goals.into_iter().map(|goal| row_of_goal(&goal)).collect();
    format!("## Goals\n\n{}", table.to_markdown())
}

/// Returns the directory of the results.
pub fn directory(short: bool) -> PathBuf {
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    if short {
        results.join("short")
    } else {
        results
    }
}

/// Formats a number with three digits, or with all before the point.
pub fn number(value: f64) -> String {
    match value.abs() {
        1000.0.. => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index) % 3 == 0 {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
