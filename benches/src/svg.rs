//! Figures as SVG, readable on light and on dark ground, and without telling colours apart: lines differ by their marks, too,
//! and bear their names.

mod axis;
mod bars;
mod lines;
mod style;

use std::fmt::Display;

use crate::{Figure, Kind};

/// How wide every figure is.
const WIDTH: f64 = 820.0;

/// Where the drawing begins, below the title.
const TOP: f64 = 64.0;

/// About as wide as a letter is on average.
const LETTER: f64 = 7.0;

/// The figure as a document.
#[must_use]
pub(crate) fn draw(figure: &Figure) -> String {
    let (height, drawing) = match figure.kind {
        Kind::Lines => lines::draw(figure),
        Kind::Bars => bars::draw(figure),
    };
    let (title, style) = (escaped(&figure.title), style::CSS);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\">\n<title>{title}</title>\n<style>{style}</style>\n\
         <rect class=\"ground\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n{}{drawing}</svg>\n",
        text(16.0, 28.0, "heading", &figure.title)
    )
}

/// A text whose anchor its class says.
fn text(x: f64, y: f64, class: &str, text: impl Display) -> String {
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\">{}</text>\n",
        escaped(&text.to_string())
    )
}

fn segment(class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) -> String {
    format!(
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
    )
}

fn escaped(text: &str) -> String {
    // Names may be Markdown.
    text.replace('`', "")
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// About how wide the longest of these texts is.
#[expect(clippy::cast_precision_loss, reason = "names are short")]
fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> f64 {
    texts.map(|text| text.chars().count()).max().unwrap_or(0) as f64 * LETTER
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of all elements, in their order, of what must be well-formed XML.
    fn elements(document: &str) -> Vec<String> {
        let (mut open, mut all) = (Vec::new(), Vec::new());
        for piece in
            document.trim().strip_prefix('<').expect("it begins with an element").split('<')
        {
            let (tag, text) = piece.split_once('>').expect("each tag ends");
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
        assert!(open.is_empty(), "{open:?} are left open");
        all
    }

    fn lines() -> Figure {
        let figure = Figure::lines("Set & get <fast>", "files", "µs").log_x().log_y();
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
    fn a_figure_is_well_formed_whatever_its_names_are() {
        for figure in [lines(), bars()] {
            let document = draw(&figure);
            let elements = elements(&document);
            assert_eq!(elements[0], "svg");
            assert!(document.contains("&lt;"), "{document}");
        }
    }

    #[test]
    fn every_line_has_its_path_its_marks_and_its_name() {
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
    fn every_bar_has_its_value_and_the_target_its_line() {
        let document = draw(&bars());
        for told in [">57<", ">318<", ">target 83.2<", "class=\"target\""] {
            assert!(document.contains(told), "no {told} in {document}");
        }
    }

    #[test]
    fn no_place_is_out_of_the_picture_or_no_number() {
        let odd = [
            lines(),
            bars(),
            Figure::lines("one point", "x", "y").log_x().line("a", [(5.0, 5.0)]),
            Figure::lines("nothing", "x", "y").log_y().line("a", []),
            Figure::lines("zeros", "x", "y").log_x().log_y().line("a", [(0.0, 0.0), (1.0, 1.0)]),
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
            for place in [" x=\"", " x1=\"", " x2=\"", " cx=\""]
                .iter()
                .flat_map(|name| document.split(name).skip(1))
            {
                let place: f64 =
                    place.split('"').next().and_then(|x| x.parse().ok()).expect("a number");
                assert!((0.0..=WIDTH).contains(&place), "{place} in {document}");
            }
        }
    }

    #[test]
    fn light_and_dark_ground_each_have_colours() {
        let document = draw(&lines());
        assert!(document.contains("@media (prefers-color-scheme: dark)"));
    }
}
