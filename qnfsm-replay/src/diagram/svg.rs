//! A picture as SVG that holds all that it needs: no font, no script, no style from elsewhere. It has a light ground of its own, so that it can be
//! read wherever it is shown.
//!
//! Texts are in a monospaced font, whose letters are all of one width, so what they take is known without the font.

use std::fmt::Write;

use super::layout::{Area, Route, Size};

pub(crate) const MARGIN: f64 = 20.0;
pub(crate) const TITLE_PX: f64 = 16.0;
const NAME_PX: f64 = 13.0;
const LINE_PX: f64 = 11.0;
/// How wide a letter of the font is, by its height; and how far two lines are apart.
const LETTER: f64 = 0.61;
const LINE: f64 = 1.35;
const PADDING: f64 = 9.0;
/// How much of a text is drawn, in letters.
const LETTERS_MAX: usize = 64;

/// How a text looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Title,
    Name,
    Line,
    Faint,
}

impl Style {
    fn px(self) -> f64 {
        match self {
            Style::Title => TITLE_PX,
            Style::Name => NAME_PX,
            Style::Line | Style::Faint => LINE_PX,
        }
    }

    fn attributes(self) -> &'static str {
        match self {
            Style::Title => r##"font-size="16" font-weight="bold" fill="#1a1a1a""##,
            Style::Name => r##"font-size="13" font-weight="bold" fill="#1a1a1a""##,
            Style::Line => r##"font-size="11" fill="#333333""##,
            Style::Faint => r##"font-size="11" fill="#666666""##,
        }
    }
}

/// A picture under way.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    body: String,
    /// How far it reaches to the right and down.
    right: f64,
    bottom: f64,
}

/// A text as XML holds it, of at most so many letters. What XML can't hold is replaced.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for (number, letter) in text.chars().enumerate() {
        match letter {
            _ if number == LETTERS_MAX => {
                out.push('…');
                break;
            }
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                out.push(char::REPLACEMENT_CHARACTER);
            }
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            letter => out.push(letter),
        }
    }
    out
}

/// How wide a text is.
pub(crate) fn width(text: &str, style: Style) -> f64 {
    // Letters of scripts that are written square take two places.
    let places = |letter: char| if matches!(u32::from(letter), 0x1100..) { 2.0 } else { 1.0 };
    let cut = if text.chars().count() > LETTERS_MAX { 1.0 } else { 0.0 };
    (text.chars().take(LETTERS_MAX).map(places).sum::<f64>() + cut) * style.px() * LETTER
}

/// The room for a box with a name and lines below it.
pub(crate) fn box_size(name: &str, lines: &[String]) -> Size {
    let text = lines.iter().map(|line| width(line, Style::Line)).fold(width(name, Style::Name), f64::max);
    #[expect(clippy::cast_precision_loss, reason = "there are few")]
    let below = if lines.is_empty() { 0.0 } else { lines.len() as f64 * LINE_PX * LINE + PADDING };
    Size { width: text + 2.0 * PADDING, height: NAME_PX * LINE + PADDING * 1.5 + below }
}

/// The room for lines of a label.
pub(crate) fn label_size(lines: &[String]) -> Size {
    let text = lines.iter().map(|line| width(line, Style::Line)).fold(0.0, f64::max);
    #[expect(clippy::cast_precision_loss, reason = "there are few")]
    Size { width: text + 6.0, height: lines.len() as f64 * LINE_PX * LINE + 4.0 }
}

impl Canvas {
    fn reach(&mut self, right: f64, bottom: f64) {
        (self.right, self.bottom) = (self.right.max(right), self.bottom.max(bottom));
    }

    /// A text whose line begins there.
    pub(crate) fn text(&mut self, x: f64, y: f64, text: &str, style: Style) {
        self.reach(x + width(text, style), y + style.px() * 0.4);
        let attributes = style.attributes();
        let _ = writeln!(self.body, r#"<text x="{x:.1}" y="{y:.1}" {attributes}>{}</text>"#, escaped(text));
    }

    /// A text whose line has its middle there.
    pub(crate) fn text_amid(&mut self, x: f64, y: f64, text: &str, style: Style) {
        let half = width(text, style) / 2.0;
        self.reach(x + half, y + style.px() * 0.4);
        let attributes = style.attributes();
        let text = escaped(text);
        // Where the font is missing, letters of another width still have their middle there.
        let _ = writeln!(self.body, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="middle" {attributes}>{text}</text>"#);
    }

    /// A rectangle.
    pub(crate) fn rect(&mut self, x: f64, y: f64, size: Size, attributes: &str) {
        let Size { width, height } = size;
        self.reach(x + width, y + height);
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" {attributes}/>"#
        );
    }

    /// A straight line.
    pub(crate) fn line(&mut self, from: (f64, f64), to: (f64, f64), attributes: &str) {
        self.reach(from.0.max(to.0), from.1.max(to.1));
        let _ = writeln!(
            self.body,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" {attributes}/>"#,
            from.0, from.1, to.0, to.1
        );
    }

    /// The head of an arrow that comes that way.
    pub(crate) fn head(&mut self, at: (f64, f64), way: (f64, f64)) {
        let (x, y) = at;
        let (back_x, back_y) = (x - way.0 * 8.0, y - way.1 * 8.0);
        let (side_x, side_y) = (way.1 * 3.5, way.0 * 3.5);
        let _ = writeln!(
            self.body,
            r##"<path d="M{x:.1} {y:.1}L{:.1} {:.1}L{:.1} {:.1}Z" fill="#4a5568"/>"##,
            back_x + side_x,
            back_y + side_y,
            back_x - side_x,
            back_y - side_y
        );
    }

    /// An arrow.
    pub(crate) fn route(&mut self, route: &Route, by: (f64, f64)) {
        let at = |point: &(f64, f64)| (point.0 + by.0, point.1 + by.1);
        let Some((first, rest)) = route.points.split_first() else { return };
        let (mut x, mut y) = at(first);
        let mut path = format!("M{x:.1} {y:.1}");
        for point in rest {
            let (to_x, to_y) = at(point);
            let middle = (y + to_y) / 2.0;
            let _ = write!(path, "C{x:.1} {middle:.1} {to_x:.1} {middle:.1} {to_x:.1} {to_y:.1}");
            self.reach(to_x, to_y);
            (x, y) = (to_x, to_y);
        }
        let _ = writeln!(self.body, r##"<path d="{path}" fill="none" stroke="#4a5568" stroke-width="1.2"/>"##);
        let down = rest.last().is_some_and(|last| last.1 >= first.1);
        self.head((x, y), (0.0, if down { 1.0 } else { -1.0 }));
    }

    /// Lines of a label, on the arrow that runs under them.
    pub(crate) fn label(&mut self, area: Area, by: (f64, f64), lines: &[String]) {
        let Area { x, y, size } = area;
        let (x, y) = (x + by.0, y + by.1);
        let (left, top) = (x - size.width / 2.0, y - size.height / 2.0);
        self.rect(left, top, size, r##"fill="#ffffff" fill-opacity="0.92""##);
        let mut line_y = top + LINE_PX * 1.15;
        for line in lines {
            self.text_amid(x, line_y, line, Style::Line);
            line_y += LINE_PX * LINE;
        }
    }

    /// A state with its name and what is handled in it.
    pub(crate) fn state(&mut self, area: Area, by: (f64, f64), name: &str, lines: &[String], seen: bool) {
        let Area { x, y, size } = area;
        let (x, y) = (x + by.0, y + by.1);
        let (left, top) = (x - size.width / 2.0, y - size.height / 2.0);
        let look = if seen {
            r##"rx="8" fill="#eef4ff" stroke="#3b5b92" stroke-width="1.4""##
        } else {
            r##"rx="8" fill="#fafafa" stroke="#999999" stroke-width="1.2" stroke-dasharray="4 3""##
        };
        self.rect(left, top, size, look);
        let mut line_y = top + PADDING * 0.75 + NAME_PX;
        self.text_amid(x, line_y, name, if seen { Style::Name } else { Style::Faint });
        if lines.is_empty() {
            return;
        }
        line_y += PADDING * 0.8;
        self.line((left, line_y), (left + size.width, line_y), r##"stroke="#b8c7e0" stroke-width="1""##);
        line_y += LINE_PX * 1.25;
        for line in lines {
            self.text(left + PADDING, line_y, line, Style::Line);
            line_y += LINE_PX * LINE;
        }
    }

    /// Where FSMs begin.
    pub(crate) fn start(&mut self, area: Area, by: (f64, f64)) {
        let (x, y) = (area.x + by.0, area.y + by.1);
        let _ = writeln!(self.body, r##"<circle cx="{x:.1}" cy="{y:.1}" r="7" fill="#1a1a1a"/>"##);
    }

    /// Where they end.
    pub(crate) fn stop(&mut self, area: Area, by: (f64, f64)) {
        let (x, y) = (area.x + by.0, area.y + by.1);
        let ring = r##"fill="#ffffff" stroke="#1a1a1a" stroke-width="1.4""##;
        let _ = writeln!(self.body, r##"<circle cx="{x:.1}" cy="{y:.1}" r="9" {ring}/>"##);
        let _ = writeln!(self.body, r##"<circle cx="{x:.1}" cy="{y:.1}" r="5" fill="#1a1a1a"/>"##);
        self.reach(x + 10.0, y + 10.0);
    }

    /// What there is to say below the picture, in lines that are no wider than it if that can be.
    pub(crate) fn footer(&mut self, top: f64, remarks: &[String]) {
        let mut y = top + LINE_PX;
        for remark in remarks {
            let mut line = String::new();
            for word in remark.split(' ') {
                if !line.is_empty() && line.chars().count() + word.chars().count() >= LETTERS_MAX {
                    self.text(MARGIN, y, &line, Style::Faint);
                    y += LINE_PX * LINE;
                    line.clear();
                }
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            self.text(MARGIN, y, &line, Style::Faint);
            y += LINE_PX * LINE * 1.3;
        }
    }

    /// The picture.
    pub(crate) fn finish(self) -> String {
        let (width, height) = ((self.right + MARGIN).ceil(), (self.bottom + MARGIN).ceil());
        let font = "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace";
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
             font-family=\"{font}\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{}</svg>\n",
            self.body
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_markup_and_none_moves_a_cursor() {
        assert_eq!(escaped("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
        assert_eq!(escaped("\u{0}\u{1b}[2J\n"), "\u{fffd}\u{fffd}[2J\u{fffd}", "what XML can't hold is replaced");
        assert_eq!(escaped("</text><script>"), "&lt;/text&gt;&lt;script&gt;");
        assert_eq!(escaped(&"x".repeat(500)).chars().count(), LETTERS_MAX + 1);
    }

    #[test]
    fn a_text_takes_the_room_that_is_reckoned_for_it() {
        assert!(width("ab", Style::Line) < width("abc", Style::Line));
        assert!((width("語", Style::Line) - width("ab", Style::Line)).abs() < 0.01, "square letters take two places");
        let long = "x".repeat(500);
        assert!((width(&long, Style::Line) - width(&escaped(&long), Style::Line)).abs() < 0.01, "and cut ones no more");
    }

    #[test]
    fn a_picture_reaches_as_far_as_what_is_in_it() {
        let mut canvas = Canvas::default();
        canvas.text(100.0, 200.0, "name", Style::Name);
        let svg = canvas.finish();
        let right = (100.0 + width("name", Style::Name) + MARGIN).ceil();
        assert!(
            svg.starts_with(&format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{right}\" height=\"")),
            "{svg}"
        );
    }
}
