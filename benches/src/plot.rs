//! Pictures of rows: a line for each system over what grows, both axes logarithmic, as SVG.
//!
//! A point is the least of the runs, which is what a machine that others use too tells best; a bar goes up to the median. Ours have colours, and so have databases; what bounds
//! them is grey. The legend stands beside the picture, so that it never lies on a line.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use plotters::{
    coord::Shift,
    prelude::{
        BindKeyPoints, ChartBuilder, Circle, DrawingArea, IntoDrawingArea, IntoLogRange, LineSeries, PathElement,
        RGBColor, SVGBackend, Text, WHITE,
    },
    style::{Color, FontDesc, FontFamily, FontStyle, IntoTextStyle, TextStyle},
};
use serde::Deserialize;

use crate::{
    plan::{Class, Failure, Plot, Recording, X},
    row::Row,
};

/// The chart, and the legend beside it, which is wider where a label needs it.
const CHART: (u32, u32) = (640, 440);
const LEGEND_WIDTH_MIN: u32 = 220;
/// Where labels begin in the legend, and how wide their characters are, about.
const LABELS_AT: u32 = 38;
const CHARACTER_WIDTH: u32 = 7;
/// The system whose lines have colours, with all its variants.
const OURS: &str = "qnfsm";
/// Colours that also those can tell apart who see fewer of them (Okabe and Ito).
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(204, 121, 167)];
/// Whose lines have these: what a user would take in place of ours, and no limit.
const PEERS: [&str; 2] = ["SQLite", "redb"];
const PEER_COLOURS: [RGBColor; 3] = [RGBColor(230, 159, 0), RGBColor(170, 110, 0), RGBColor(86, 180, 233)];
const GREYS: [RGBColor; 3] = [RGBColor(60, 60, 60), RGBColor(140, 140, 140), RGBColor(180, 180, 180)];
const TEXT: RGBColor = RGBColor(30, 30, 30);
/// How far the axes go beyond the outermost points.
const AROUND: f64 = 1.3;
/// Past so many decades only the powers of ten have labels.
const DECADES_WITH_HALVES: f64 = 3.0;

/// What a picture needs of a row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Measured {
    suite: String,
    case: String,
    class: Class,
    system: String,
    recording: Recording,
    payload_bytes: u32,
    value: f64,
    min: f64,
    unit: String,
}

impl From<&Row> for Measured {
    fn from(row: &Row) -> Measured {
        Measured {
            suite: row.suite.to_owned(),
            case: row.case.clone(),
            class: row.class,
            system: row.system.to_owned(),
            recording: row.recording,
            payload_bytes: row.payload_bytes,
            value: row.value,
            min: row.min,
            unit: row.unit.to_owned(),
        }
    }
}

impl Measured {
    /// Its x in a plot; nothing if it isn't on it.
    fn x_in(&self, plot: &Plot) -> Option<f64> {
        let number = match plot.x {
            X::PayloadBytes => (self.case == plot.family).then_some(self.payload_bytes)?,
            X::EndOfCase => self.case.strip_prefix(plot.family)?.strip_prefix('-')?.parse().ok()?,
        };
        let is_on = plot.class.is_none_or(|class| class == self.class) && self.unit == plot.y_label;
        is_on.then_some(f64::from(number))
    }
}

/// Reads rows as `--json` prints them.
///
/// # Errors
/// When the file can't be read, or has something else in it.
pub fn read(rows: &Path) -> Result<Vec<Measured>, Failure> {
    let text = fs::read_to_string(rows).map_err(|error| format!("{}: {error}", rows.display()))?;
    let mut read = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let row = serde_json::from_str(line)
            .map_err(|error| format!("{} line {} is no row: {error}", rows.display(), index + 1))?;
        read.push(row);
    }
    Ok(read)
}

/// Draws those pictures of a suite that have two points at least, into a directory that is made where it is missing. Returns the files.
///
/// # Errors
/// When a file can't be written.
pub fn draw(suite: &str, plots: &[Plot], rows: &[Measured], dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let rows: Vec<_> = rows.iter().filter(|row| row.suite == suite).cloned().collect();
    let in_dir = |error: io::Error| format!("{}: {error}", dir.display());
    fs::create_dir_all(dir).map_err(in_dir)?;
    let mut files = Vec::new();
    for plot in plots {
        let lines = lines_of(plot, &rows);
        if lines.iter().map(|line| line.points.len()).max().is_none_or(|points| points < 2) {
            continue;
        }
        let file = dir.join(plot.file).with_extension("svg");
        fs::write(&file, picture(plot, &lines)?).map_err(in_dir)?;
        files.push(file);
    }
    Ok(files)
}

/// Draws the pictures of several suites, named with theirs.
///
/// # Errors
/// As [`draw`].
pub fn draw_suites(suites: &[(&str, Vec<Plot>)], rows: &[Measured], dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let drawn = suites.iter().map(|(suite, plots)| draw(suite, plots, rows, dir));
    Ok(drawn.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Says which files were drawn.
///
/// # Errors
/// When there are none.
pub fn say_drawn(files: &[PathBuf]) -> Result<(), Failure> {
    if files.is_empty() {
        return Err("there is nothing to draw: a line needs two points at least".into());
    }
    for file in files {
        eprintln!("drawn: {}", file.display());
    }
    Ok(())
}

/// One system's points.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    label: String,
    colour: RGBColor,
    points: Vec<PointOfLine>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct PointOfLine {
    x: f64,
    median: f64,
    least: f64,
}

fn lines_of(plot: &Plot, rows: &[Measured]) -> Vec<Line> {
    let mut lines = Vec::<Line>::new();
    let (mut colours, mut peers, mut greys) =
        (COLOURS.iter().cycle(), PEER_COLOURS.iter().cycle(), GREYS.iter().cycle());
    for row in rows {
        let Some(x) = row.x_in(plot) else { continue };
        let label = match row.recording {
            Recording::Off => row.system.clone(),
            recording => format!("{}, {recording}", row.system),
        };
        let point = PointOfLine { x, median: row.value, least: row.min };
        if let Some(line) = lines.iter_mut().find(|line| line.label == label) {
            line.points.push(point);
            continue;
        }
        let palette = match &row.system {
            system if system.starts_with(OURS) => &mut colours,
            system if PEERS.iter().any(|peer| system.starts_with(peer)) => &mut peers,
            _ => &mut greys,
        };
        let colour = *palette.next().expect("a cycle doesn't end");
        lines.push(Line { label, colour, points: vec![point] });
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.x.total_cmp(&b.x));
    }
    lines
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn picture(plot: &Plot, lines: &[Line]) -> Result<String, Failure> {
    let mut text = String::new();
    {
        let size = (CHART.0 + legend_width(lines), CHART.1);
        let whole = SVGBackend::with_string(&mut text, size).into_drawing_area();
        whole.fill(&WHITE)?;
        let (chart, legend) = whole.split_horizontally(CHART.0);
        draw_chart(plot, lines, &chart)?;
        draw_legend(lines, &legend)?;
        whole.present()?;
    }
    // A file of text ends with the end of a line.
    text.push('\n');
    Ok(text)
}

fn style(size: u32) -> TextStyle<'static> {
    FontDesc::new(FontFamily::SansSerif, f64::from(size), FontStyle::Normal).color(&TEXT)
}

fn draw_chart(plot: &Plot, lines: &[Line], area: &Area<'_>) -> Result<(), Failure> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let xs = distinct(points().map(|point| point.x));
    let (ys, y_labels) = scale(points().flat_map(|point| [point.least, point.median]));
    let mut chart = ChartBuilder::on(area)
        .caption(plot.title, style(19))
        .margin(12)
        .margin_right(20)
        .x_label_area_size(52)
        .y_label_area_size(68)
        .build_cartesian_2d(
            around(span(xs.iter().copied()), 1).log_scale().with_key_points(xs.clone()),
            ys.log_scale().with_key_points(y_labels.clone()),
        )?;
    chart
        .configure_mesh()
        .x_desc(plot.x_label)
        .y_desc(plot.y_label)
        .axis_desc_style(style(15))
        .label_style(style(14))
        .x_labels(xs.len())
        .y_labels(y_labels.len())
        .x_label_formatter(&|x| label(*x))
        .y_label_formatter(&|y| label(*y))
        .bold_line_style(RGBColor(222, 222, 222))
        .light_line_style(WHITE)
        .axis_style(RGBColor(120, 120, 120))
        .draw()?;
    for line in lines {
        let colour = line.colour;
        let least = line.points.iter().map(|point| (point.x, point.least));
        chart.draw_series(LineSeries::new(least.clone(), colour.stroke_width(2)))?;
        let bars = line.points.iter().map(|point| vec![(point.x, point.least), (point.x, point.median)]);
        chart.draw_series(bars.map(|bar| PathElement::new(bar, colour.mix(0.5).stroke_width(1))))?;
        chart.draw_series(least.map(|least| Circle::new(least, 3, colour.filled())))?;
    }
    Ok(())
}

fn legend_width(lines: &[Line]) -> u32 {
    let longest = lines.iter().map(|line| line.label.chars().count()).max().unwrap_or_default();
    let longest = u32::try_from(longest).expect("labels are short");
    LEGEND_WIDTH_MIN.max(LABELS_AT + CHARACTER_WIDTH * longest)
}

fn draw_legend(lines: &[Line], area: &Area<'_>) -> Result<(), Failure> {
    let style = style(14).into_text_style(area);
    for (top, line) in (56..).step_by(26).zip(lines) {
        area.draw(&PathElement::new(vec![(4, top), (30, top)], line.colour.stroke_width(2)))?;
        area.draw(&Circle::new((17, top), 3, line.colour.filled()))?;
        area.draw(&Text::new(line.label.clone(), (LABELS_AT.cast_signed(), top - 7), style.clone()))?;
    }
    Ok(())
}

/// The values, each once, from the least up.
fn distinct(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    values
}

/// An axis around these values, and its labels: two at least, because one alone tells no distance.
fn scale(values: impl Iterator<Item = f64>) -> (Range<f64>, Vec<f64>) {
    let span = span(values);
    let labelled = |times| {
        let range = around(span, times);
        (range.clone(), round_numbers(range.start, range.end))
    };
    // Further around where that takes it: each decade has three.
    (1..9).map(labelled).find(|(_, labels)| labels.len() > 1).unwrap_or_else(|| labelled(1))
}

/// The least and the most of them.
fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::MAX, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)))
}

/// From the least to the most, and so many times [`AROUND`] beyond.
fn around((least, most): (f64, f64), times: i32) -> Range<f64> {
    least / AROUND.powi(times)..most * AROUND.powi(times)
}

/// The round numbers between two: 1, 2, 5, 10, 20 and so on; where that are many, powers of ten alone.
fn round_numbers(from: f64, to: f64) -> Vec<f64> {
    let steps: &[f64] = if (to / from).log10() > DECADES_WITH_HALVES { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = std::iter::successors(Some(1e-3), |decade| Some(decade * 10.0)).take_while(|decade| *decade <= to);
    let all = decades.flat_map(|decade| steps.iter().map(move |step| decade * step));
    all.filter(|number| (from..=to).contains(number)).collect()
}

/// A number as people write it: `0.5`, `1,000`, `64 Ki`, `1 M`.
fn label(number: f64) -> String {
    if number < 10.0 {
        // Three digits behind the point at most, and none that say nothing.
        return format!("{number:.3}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    for (unit, name) in [(1_048_576.0, "Mi"), (1_000_000.0, "M"), (1_024.0, "Ki"), (1_000.0, "k")] {
        if number >= unit && number % unit == 0.0 {
            return format!("{:.0} {name}", number / unit);
        }
    }
    format!("{number:.0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(case: &str, system: &str, value: f64) -> Measured {
        Measured {
            suite: "growth".to_owned(),
            case: case.to_owned(),
            class: Class::OneThread,
            system: system.to_owned(),
            recording: Recording::Off,
            payload_bytes: 16,
            value,
            min: value / 2.0,
            unit: "ns/message".to_owned(),
        }
    }

    const PLOT: Plot = Plot {
        file: "growth-fsms",
        family: "fsms",
        class: None,
        title: "FSMs in one worker",
        x: X::EndOfCase,
        x_label: "FSMs",
        y_label: "ns/message",
    };

    #[test]
    fn an_axis_has_two_labels_at_least() {
        let labels = |values: &[f64]| scale(values.iter().copied()).1;
        assert_eq!(labels(&[22.0, 23.0]), [20.0, 50.0]);
        assert_eq!(labels(&[4.0, 30.0]), [5.0, 10.0, 20.0]);
        assert!(labels(&[1.0, 1.0]).len() > 1 && labels(&[99_999.0]).len() > 1);
    }

    #[test]
    fn a_line_has_its_systems_points_in_order_and_no_others() {
        let rows = [row("fsms-100", "qnfsm", 5.0), row("fsms-1", "qnfsm", 3.0), row("queue-1", "qnfsm", 9.0)];
        let lines = lines_of(&PLOT, &rows);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(
            line.points.iter().map(|point| (point.x, point.median)).collect::<Vec<_>>(),
            [(1.0, 3.0), (100.0, 5.0)]
        );
    }

    #[test]
    fn ours_have_colours_and_limits_are_grey() {
        let systems = ["qnfsm, scattered", "bare loop", "SQLite WAL, FULL"];
        let lines = lines_of(&PLOT, &systems.map(|system| row("fsms-1", system, 1.0)));
        let colours = lines.iter().map(|line| line.colour).collect::<Vec<_>>();
        assert_eq!(colours, [COLOURS[0], GREYS[0], PEER_COLOURS[0]]);
    }

    #[test]
    fn a_picture_is_drawn_where_there_are_two_points_and_names_its_systems() {
        let dir = tempfile::tempdir().expect("a directory");
        let one = [row("fsms-1", "qnfsm", 3.0)];
        assert_eq!(draw("growth", &[PLOT], &one, dir.path()).expect("nothing to write"), Vec::<PathBuf>::new());
        let two = [row("fsms-1", "qnfsm", 3.0), row("fsms-1000000", "qnfsm", 300.0)];
        let files = draw("growth", &[PLOT], &two, dir.path()).expect("written");
        let [file] = &files[..] else { panic!("{files:?}") };
        let text = fs::read_to_string(file).expect("there");
        for part in ["<svg", "qnfsm", "1 M", "ns/message", "FSMs in one worker"] {
            assert!(text.contains(part), "{part} is missing");
        }
    }

    #[test]
    fn a_long_label_makes_the_legend_wider() {
        let width = |system: &str| legend_width(&lines_of(&PLOT, &[row("fsms-1", system, 1.0)]));
        assert_eq!(width("qnfsm"), LEGEND_WIDTH_MIN);
        let long = "write + fdatasync, over zeros, durable";
        assert!(width(long) > LABELS_AT + 6 * u32::try_from(long.len()).expect("short"));
    }

    #[test]
    fn axes_have_round_numbers() {
        assert_eq!(round_numbers(30.0, 600.0), [50.0, 100.0, 200.0, 500.0]);
        assert_eq!(round_numbers(0.9, 12_000.0), [1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
    }

    #[test]
    fn numbers_are_written_as_people_do() {
        let numbers = [0.5, 8.0, 64.0, 1_000.0, 4_096.0, 65_536.0, 1_000_000.0];
        assert_eq!(numbers.map(label), ["0.5", "8", "64", "1 k", "4 Ki", "64 Ki", "1 M"]);
    }
}
