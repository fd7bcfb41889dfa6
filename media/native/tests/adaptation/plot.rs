//! A run as numbers and as a picture.

use std::fmt::Write as _;
use std::path::PathBuf;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 240.0;
const COLOURS: [&str; 6] = [
    "#999", "#1668dc", "#16a34a", "#dc2626", "#9333ea", "#ca8a04",
];

/// Lines over time: a name and a value each tenth of a second.
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) lines: Vec<(String, Vec<f64>)>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../test-output/adaptation")
}

/// Writes `NAME.svg` and `NAME.csv`. A folder that can't be written fails no test.
pub(crate) fn write(name: &str, plots: &[Plot]) {
    let mut svg = String::new();
    let total = plots.len() as f64 * (HEIGHT + 50.0);
    let _ = writeln!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {total}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>"#,
        WIDTH + 80.0
    );
    for (place, plot) in plots.iter().enumerate() {
        draw(&mut svg, plot, 30.0 + place as f64 * (HEIGHT + 50.0));
    }
    svg.push_str("</svg>\n");
    let lines: Vec<&(String, Vec<f64>)> = plots.iter().flat_map(|plot| &plot.lines).collect();
    let names: Vec<&str> = lines.iter().map(|line| line.0.as_str()).collect();
    let mut csv = format!("seconds,{}\n", names.join(","));
    let count = lines.iter().map(|line| line.1.len()).max().unwrap_or(0);
    for row in 0..count {
        let _ = write!(csv, "{:.1}", row as f64 / 10.0);
        for line in &lines {
            let _ = write!(csv, ",{:.0}", line.1.get(row).copied().unwrap_or(0.0));
        }
        csv.push('\n');
    }
    let folder = folder();
    let _ = std::fs::create_dir_all(&folder);
    let _ = std::fs::write(folder.join(format!("{name}.svg")), svg);
    let _ = std::fs::write(folder.join(format!("{name}.csv")), csv);
}

fn draw(svg: &mut String, plot: &Plot, top: f64) {
    let most = plot
        .lines
        .iter()
        .flat_map(|line| line.1.iter().copied())
        .fold(1.0, f64::max);
    let count = plot
        .lines
        .iter()
        .map(|line| line.1.len())
        .max()
        .unwrap_or(1)
        .max(2);
    let _ = writeln!(
        svg,
        r##"<text x="60" y="{}">{} ({}, up to {most:.0}; {:.0} s)</text><rect x="60" y="{top}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>"##,
        top - 8.0,
        plot.title,
        plot.unit,
        count as f64 / 10.0,
    );
    for (place, (name, values)) in plot.lines.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let points: Vec<String> = values
            .iter()
            .enumerate()
            .map(|(at, value)| {
                let x = 60.0 + at as f64 * WIDTH / (count - 1) as f64;
                let y = top + HEIGHT - value / most * HEIGHT;
                format!("{x:.1},{y:.1}")
            })
            .collect();
        let _ = writeln!(
            svg,
            r#"<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{}"/><text x="{}" y="{}" fill="{colour}">{name}</text>"#,
            points.join(" "),
            70.0 + place as f64 * 130.0,
            top + 16.0,
        );
    }
}
