//! Figures as SVG, readable on light and dark backgrounds.

mod bars;
mod lines;
mod scale;
mod style;

use std::fmt::Display;

use crate::{Figure, Kind};

/// The width of every figure.
const WIDTH: f64 = 820.0;

/// The top of the drawing, below the title.
const TOP: f64 = 64.0;

/// The average width of a letter.
const LETTER: f64 = 7.0;

/// Returns the figure as a document.
#[must_use]
pub(crate) fn draw(figure: &Figure) -> String {
    let (height, drawing) = match figure.kind {
        Kind::Lines => lines::draw(figure),
        Kind::Bars => bars::draw(figure),
    };
    let (title, style) = (escaped(&figure.title), style::css());
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{title}</title>\n<style>{style}</style>\n\
         <rect class=\"ground\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n{}{drawing}</svg>\n",
        text(16.0, 28.0, "heading", &figure.title)
    )
}

/// A text. Its class sets the anchor.
fn text(x: f64, y: f64, class: &str, text: impl Display) -> String {
    let text = escaped(&text.to_string());
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{text}</text>\n")
}

fn segment(class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) -> String {
    format!(
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
    )
}

fn escaped(text: &str) -> String {
    // Names may contain Markdown.
    let text = text.replace('`', "").replace('&', "&amp;").replace('"', "&quot;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// Returns the approximate width of the longest of these texts.
#[expect(clippy::cast_precision_loss, reason = "names are short")]
fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> f64 {
    texts.map(|text| text.chars().count()).max().unwrap_or(0) as f64 * LETTER
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the names of all elements. Panics if the document is not well-formed.
    fn elements(document: &str) -> Vec<String> {
        let (mut open, mut all) = (Vec::new(), Vec::new());
        for piece in document.trim().strip_prefix('<').expect("an element").split('<') {
            let (tag, text) = piece.split_once('>').expect("the end of the tag");
            assert!(!text.contains('>'), "{text}");
            for entity in text.split('&').skip(1) {
                assert!(
                    ["amp;", "lt;", "gt;", "quot;"].iter().any(|known| entity.starts_with(known)),
                    "{text}"
                );
            }
            let name =
                tag.trim_start_matches('/').split([' ', '/']).next().expect("a name").to_owned();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
                continue;
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            all.push(name.clone());
            if !tag.ends_with('/') {
                open.push(name);
            }
        }
        assert!(open.is_empty(), "{open:?} are not closed");
        all
    }

    fn lines() -> Figure {
        let figure = Figure::lines("Set & get <fast>", "files", "µs").log_y();
        let figure = figure.line("filebased", [(300.0, 171.0), (1e4, 180.0), (1e5, 185.0)]);
        figure
            .line("by \"hand\" & co", [(300.0, 170.0), (1e5, 180.0)])
            .line("Django", [(300.0, 1600.0), (1e5, 182e3)])
    }

    fn bars() -> Figure {
        let figure = Figure::bars("A hit", "ns").bar("locmem", 57.0).bar("moka <sync>", 318.0);
        Figure { target: Some(83.2), ..figure }
    }

    #[test]
    fn figure_is_well_formed_with_any_names() {
        for figure in [lines(), bars()] {
            let document = draw(&figure);
            let elements = elements(&document);
            assert_eq!(elements[0], "svg");
            assert!(document.contains("&lt;"), "{document}");
        }
    }

    #[test]
    fn every_line_has_a_path_marks_and_a_name() {
        let document = draw(&lines());
        let elements = elements(&document);
        let count = |name: &str| elements.iter().filter(|element| *element == name).count();
        assert_eq!(count("polyline"), 3);
        assert!(
            document.contains("circle") && document.contains(">by &quot;hand&quot; &amp; co<"),
            "{document}"
        );
    }

    #[test]
    fn every_bar_has_a_value_and_the_target_a_line() {
        let document = draw(&bars());
        for part in [">57<", ">318<", ">target 83.2<", "class=\"target\""] {
            assert!(document.contains(part), "no {part} in {document}");
        }
    }

    #[test]
    fn positions_are_finite_and_inside_the_figure() {
        let odd = [
            lines(),
            bars(),
            Figure::lines("one point", "x", "y").line("a", [(5.0, 5.0)]),
            Figure::lines("nothing", "x", "y").log_y().line("a", []),
            Figure::lines("zeros", "x", "y").log_y().line("a", [(0.0, 0.0), (1.0, 1.0)]),
            Figure::lines("level", "x", "y").line("a", [(1.0, 0.0), (2.0, 0.0)]),
            Figure::bars("no bars", "y"),
            Figure::bars("nil", "y").bar("a", 0.0),
            Figure::bars("no number", "y").bar("a", f64::NAN).bar("b", 1.0),
            Figure::lines("no number", "x", "y")
                .line("a", [(1.0, f64::NAN), (2.0, f64::INFINITY), (3.0, 1.0)]),
        ];
        for figure in odd {
            let document = draw(&figure);
            elements(&document);
            assert!(!document.contains("NaN") && !document.contains("inf"), "{document}");
            for position in [" x=\"", " x1=\"", " x2=\"", " cx=\""]
                .iter()
                .flat_map(|name| document.split(name).skip(1))
            {
                let position: f64 =
                    position.split('"').next().and_then(|x| x.parse().ok()).expect("a number");
                assert!((0.0..=WIDTH).contains(&position), "{position} in {document}");
            }
        }
    }

    #[test]
    fn light_and_dark_backgrounds_have_colours() {
        let document = draw(&lines());
        assert!(document.contains("@media (prefers-color-scheme: dark)"));
    }

    #[test]
    fn twelve_lines_look_different() {
        let figure = Figure::lines("t", "x", "y");
        let figure = (0..12).fold(figure, |figure, n| figure.line(n.to_string(), [(1.0, 1.0)]));
        let document = draw(&figure);
        let rule = |class: &str| {
            let line = document.lines().find(|line| line.starts_with(&format!(".{class} {{")));
            line.and_then(|line| line.split_once('{')).expect("a rule").1.to_owned()
        };
        let shape = |look: usize| {
            let mark = document.split(&format!("class=\"mark l{look}\"")).next().expect("a mark");
            let corners = document[mark.len()..].split("/>").next().unwrap_or_default();
            (mark.rsplit('<').next().map(str::to_owned), corners.matches(',').count())
        };
        let mut colours: Vec<_> = (0..12).map(|look| rule(&format!("l{look}"))).collect();
        let mut shapes: Vec<_> =
            (0..12).map(|look| (shape(look), look % 6, rule(&format!("d{look}")))).collect();
        colours.sort();
        colours.dedup();
        shapes.sort();
        shapes.dedup();
        assert_eq!((colours.len(), shapes.len()), (12, 12));
    }
}
