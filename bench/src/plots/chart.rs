//! A chart: a row for each peer, grouped by system call, and a panel for each case.
//!
//! Each bar has its peer's name and its figure beside it, so that no legend is needed. The colours
//! follow the reader's light or dark scheme. The background is opaque, since a page may be dark in
//! a browser whose scheme is light.

use std::fmt::Write as _;

use super::scale::Scale;
use crate::peers::Call;
use crate::report::number;

/// All lengths are in pixels.
const WIDTH: f64 = 980.0;
const MARGIN: f64 = 16.0;
/// The column of the names.
const NAMES: f64 = 106.0;
/// Room for a figure to the right of the longest bar.
const FIGURE: f64 = 56.0;
/// Between panels.
const GAP: f64 = 12.0;
const LINE: f64 = 18.0;
/// From the last peer of a group to the name of the next, in lines.
const BETWEEN: f64 = 1.4;
const BAR: f64 = 10.0;

const STYLE: &str = "\
text { font: 12px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.head { font-weight: 600 }
.note, .tick { fill: #59636e }
.tick { font-size: 10px; text-anchor: middle }
.card { fill: #ffffff; stroke: #d1d9e0 }
.grid { stroke: #e6eaef }
.grid, .spread { shape-rendering: crispEdges }
.bar { fill: #adb7c3 }
.spread { stroke: #3a434d }
.ours { font-weight: 600; fill: #bc4c00 }
.bar.ours { fill: #f2762e }
.spread.ours { stroke: #6b2b00 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.note, .tick { fill: #9198a1 }
.card { fill: #0d1117; stroke: #3d444d }
.grid { stroke: #262c36 }
.bar { fill: #5b6673 }
.spread { stroke: #dde3ea }
.ours { fill: #ffa657 }
.bar.ours { fill: #d1601a }
.spread.ours { stroke: #ffdfb6 }
}
";

#[derive(Debug)]
pub struct Chart {
    pub title: &'static str,
    /// Lines below the title.
    pub notes: &'static [&'static str],
    pub panels: Vec<Panel>,
    /// All panels share one axis.
    pub same_scale: bool,
}

#[derive(Debug)]
pub struct Panel {
    pub title: String,
    /// By peer. `None`: the peer cannot do it.
    pub figures: Vec<(String, Option<Figure>)>,
}

/// The median of some rounds, and the lowest and highest of them if they were recorded.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    middle: f64,
    spread: Option<[f64; 2]>,
}

impl Figure {
    pub fn new(middle: f64, rounds: impl Iterator<Item = f64>) -> Self {
        let spread = rounds.fold(None, |spread, round| {
            let [low, high] = spread.unwrap_or([round; 2]);
            Some([round.min(low), round.max(high)])
        });
        Self { middle, spread }
    }

    fn ends(&self) -> [f64; 2] {
        self.spread.unwrap_or([self.middle; 2])
    }
}

impl Panel {
    fn values(&self) -> impl Iterator<Item = f64> {
        let figures = self.figures.iter().filter_map(|(_, figure)| *figure);
        figures.flat_map(|figure| [figure.middle, figure.ends()[0], figure.ends()[1]])
    }

    fn figure(&self, peer: &str) -> Option<&Option<Figure>> {
        let of_peer = self.figures.iter().find(|(name, _)| name == peer);
        of_peer.map(|(_, figure)| figure)
    }
}

impl Chart {
    /// Returns the picture, or `None` if the panels have no figures.
    pub fn to_svg(&self) -> Option<String> {
        let all = Scale::new(self.panels.iter().flat_map(Panel::values))?;
        let width = (WIDTH - 2.0 * MARGIN - NAMES + GAP) / self.panels.len() as f64;
        let mut picture = Picture {
            body: String::new(),
            y: MARGIN + 14.0,
        };
        picture.text(MARGIN, "title", self.title);
        let rounds = self.rounds();
        for note in self.notes.iter().copied().chain(rounds) {
            picture.y += LINE;
            picture.text(MARGIN, "note", note);
        }
        picture.y += 1.6 * LINE;

        let scales = self.panels.iter().map(|panel| {
            let own = Scale::new(panel.values()).unwrap_or(all);
            if self.same_scale { all } else { own }
        });
        let axes: Vec<_> = scales
            .enumerate()
            .map(|(index, scale)| Axis {
                left: MARGIN + NAMES + index as f64 * width,
                length: width - FIGURE - GAP,
                scale,
            })
            .collect();
        for (panel, axis) in self.panels.iter().zip(&axes) {
            let kind = if axis.scale.logarithmic {
                " (logarithmic)"
            } else {
                ""
            };
            picture.text(axis.left, "head", &format!("{}{kind}", panel.title));
        }
        let top = picture.y + 0.5 * LINE;
        picture.y = top;
        let groups = self.groups();
        let lines = groups.iter().map(|(_, peers)| peers.len() as f64 + BETWEEN);
        let bottom = top + lines.sum::<f64>() * LINE + 0.5 * LINE;
        for axis in &axes {
            picture.grid(axis, top, bottom);
        }
        for (group, peers) in groups {
            picture.y += BETWEEN * LINE;
            picture.text(MARGIN, "head", group);
            for peer in peers {
                picture.y += LINE;
                picture.text(MARGIN + 8.0, class("", peer), &label(peer));
                for (panel, axis) in self.panels.iter().zip(&axes) {
                    match panel.figure(peer) {
                        Some(Some(figure)) => picture.bar(axis, peer, figure),
                        Some(None) => picture.text(axis.left + 4.0, "note", "cannot do it"),
                        None => {}
                    }
                }
            }
        }
        Some(picture.finish(self.title, (bottom + LINE + MARGIN).ceil()))
    }

    /// Returns the note that explains the thin lines, if there are any.
    fn rounds(&self) -> Option<&'static str> {
        let mut figures = self.panels.iter().flat_map(|panel| &panel.figures);
        let any = figures.any(|(_, figure)| figure.is_some_and(|figure| figure.spread.is_some()));
        any.then_some("The figure is the median of the rounds; the thin line runs from the lowest round to the highest.")
    }

    /// Returns the peers by system call, in recorded order.
    fn groups(&self) -> Vec<(&'static str, Vec<&str>)> {
        let mut groups = vec![
            ("select(2)", Vec::new()),
            ("poll(2)", Vec::new()),
            ("epoll(7)", Vec::new()),
            ("other", Vec::new()),
        ];
        for (peer, _) in self.panels.iter().flat_map(|panel| &panel.figures) {
            let of_call = |call: &Call| peer.split('/').skip(1).any(|part| part == call.name());
            let index = Call::ALL
                .iter()
                .position(of_call)
                .unwrap_or(Call::ALL.len());
            if !groups[index].1.contains(&peer.as_str()) {
                groups[index].1.push(peer.as_str());
            }
        }
        groups.retain(|(_, peers)| !peers.is_empty());
        groups
    }
}

/// A scale, and where it is drawn.
struct Axis {
    left: f64,
    length: f64,
    scale: Scale,
}

impl Axis {
    fn x(&self, value: f64) -> f64 {
        self.left + self.scale.place(value) * self.length
    }
}

/// An SVG file in the making, and the baseline of the line that is being drawn.
struct Picture {
    body: String,
    y: f64,
}

impl Picture {
    fn text(&mut self, x: f64, class: &str, text: &str) {
        self.text_at(x, self.y, class, text);
    }

    fn text_at(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let text = escape(text);
        self.push(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{text}</text>"#
        ));
    }

    fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], class: &str) {
        self.push(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" class="{class}"/>"#
        ));
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.body, "{element}");
    }

    fn grid(&mut self, axis: &Axis, top: f64, bottom: f64) {
        for tick in axis.scale.ticks() {
            let x = axis.x(tick);
            self.line([x, top], [x, bottom], "grid");
            self.text_at(x, bottom + 12.0, "tick", &short(tick));
        }
    }

    fn bar(&mut self, axis: &Axis, peer: &str, figure: &Figure) {
        let (left, right) = (axis.left, axis.x(figure.middle));
        let middle = self.y - 4.0;
        let class_of_bar = class("bar", peer);
        if axis.scale.logarithmic {
            // Such a scale has no zero that a bar could begin at.
            self.line([left, middle], [right, middle], "grid");
            self.push(format_args!(
                r#"<circle cx="{right:.1}" cy="{middle:.1}" r="{:.1}" class="{class_of_bar}"/>"#,
                BAR / 2.0
            ));
        } else {
            let (top, width) = (middle - BAR / 2.0, right - left);
            self.push(format_args!(
                r#"<rect x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{BAR}" class="{class_of_bar}"/>"#
            ));
        }
        let ends = figure.ends().map(|value| axis.x(value));
        if figure.spread.is_some() {
            let [low, high] = ends.map(|x| [x, middle]);
            self.line(low, high, class("spread", peer));
        }
        let gap = if axis.scale.logarithmic {
            BAR
        } else {
            BAR / 2.0
        };
        let x = right.max(ends[1]) + gap;
        self.text(x, class("", peer), &number(figure.middle));
    }

    fn finish(self, title: &str, height: f64) -> String {
        let title = escape(title);
        let (width, tall) = (WIDTH - 1.0, height - 1.0);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">
<title>{title}</title>
<style>
{STYLE}</style>
<rect x="0.5" y="0.5" width="{width}" height="{tall}" rx="6" class="card"/>
{}</svg>
"#,
            self.body
        )
    }
}

/// Returns the class of a peer's element of this `kind`. That of fdloop highlights it.
fn class(kind: &'static str, peer: &str) -> &'static str {
    match (kind, peer.starts_with("fdloop/")) {
        ("bar", true) => "bar ours",
        ("spread", true) => "spread ours",
        (_, true) => "ours",
        (kind, false) => kind,
    }
}

/// Returns the name of a peer without its system call, which its group has.
fn label(peer: &str) -> String {
    let mut parts = peer.split('/');
    let library = match parts.next() {
        Some("raw") => "by hand",
        Some("mapped") => "by hand with a map",
        library => library.unwrap_or_default(),
    };
    let is_call = |part: &str| Call::ALL.iter().any(|call| call.name() == part);
    let rest = parts.filter(|part| !is_call(part));
    rest.fold(library.to_owned(), |label, part| label + ", " + part)
}

/// Formats a tick in few characters.
fn short(value: f64) -> String {
    // The ticks are powers of ten that were calculated.
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    if value >= 1000.0 {
        format!("{}k", rounded(value / 1000.0))
    } else {
        rounded(value).to_string()
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(figures: Vec<(String, Option<Figure>)>) -> Chart {
        let title = "50 of 50 <active>".to_owned();
        Chart {
            title: "Echo & more",
            notes: &[],
            panels: vec![Panel { title, figures }],
            same_scale: true,
        }
    }

    #[test]
    fn peers_are_grouped_by_system_call_and_named_without_it() {
        let figure = Some(Figure::new(2.0, [1.0, 3.0].into_iter()));
        let peers = ["raw/epoll", "fdloop/select/asked", "kqueue", "libev/epoll"];
        let chart = chart(peers.map(|peer| (peer.to_owned(), figure)).to_vec());
        let groups = [
            ("select(2)", vec!["fdloop/select/asked"]),
            ("epoll(7)", vec!["raw/epoll", "libev/epoll"]),
            ("other", vec!["kqueue"]),
        ];
        assert_eq!(chart.groups(), groups);
        let labels = ["by hand", "fdloop, asked", "kqueue", "libev"];
        assert_eq!(peers.map(label), labels);
    }

    #[test]
    fn a_picture_has_each_figure_and_its_spread_and_escapes_text() {
        let figures = vec![
            (
                "fdloop/poll".to_owned(),
                Some(Figure::new(1234.0, [1000.0, 1500.0].into_iter())),
            ),
            (
                "libev/poll".to_owned(),
                Some(Figure::new(99.5, std::iter::empty())),
            ),
            ("libevent/poll".to_owned(), None),
        ];
        let svg = chart(figures).to_svg().unwrap();
        for text in [
            ">1,234<",
            ">99.5<",
            ">cannot do it<",
            "Echo &amp; more",
            "&lt;active&gt;",
        ] {
            assert!(svg.contains(text), "no {text} in {svg}");
        }
        assert_eq!(svg.matches(r#"class="spread"#).count(), 1);
    }

    #[test]
    fn without_figures_there_is_no_picture() {
        let none = vec![("libevent/select".to_owned(), None)];
        assert!(chart(none).to_svg().is_none());
    }
}
