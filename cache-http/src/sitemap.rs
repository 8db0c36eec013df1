//! The pages that a sitemap lists.

use std::{error::Error, fmt, str::FromStr};

use http::Uri;
use roxmltree::{Document, Node};

/// The contents of a sitemap or a sitemap index, as the
/// [sitemap protocol](https://www.sitemaps.org/protocol.html) defines them.
///
/// A sitemap lists pages, which [`WarmUp::run`](crate::WarmUp::run) takes. A sitemap index lists
/// further sitemaps, which you read and parse in turn.
///
/// # Examples
///
/// ```
/// use cache_http::Sitemap;
///
/// let sitemap: Sitemap = r#"<?xml version="1.0" encoding="UTF-8"?>
///     <urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">
///       <url><loc>https://shop.org/</loc><priority>0.8</priority></url>
///       <url><loc>https://shop.org/search?q=tea&amp;page=2</loc></url>
///     </urlset>"#
///     .parse()?;
/// assert_eq!(sitemap.pages, ["https://shop.org/", "https://shop.org/search?q=tea&page=2"]);
/// assert!(sitemap.sitemaps.is_empty());
/// # Ok::<(), cache_http::SitemapError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sitemap {
    /// The URIs of pages.
    pub pages: Vec<Uri>,
    /// The URIs of further sitemaps.
    pub sitemaps: Vec<Uri>,
}

/// The reason why a text is not a sitemap.
#[derive(Debug)]
pub struct SitemapError {
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl FromStr for Sitemap {
    type Err = SitemapError;

    /// Parses the XML text of a sitemap or a sitemap index.
    ///
    /// # Errors
    ///
    /// Returns an error if the text is not well-formed XML, if it has a document type, if its root
    /// element is neither `urlset` nor `sitemapindex`, or if a URL is invalid.
    fn from_str(xml: &str) -> Result<Self, SitemapError> {
        let document = Document::parse(xml)
            .map_err(|error| SitemapError::new("the sitemap is not valid XML".into(), error))?;
        let root = document.root_element();
        match root.tag_name().name() {
            "urlset" => Ok(Self { pages: locations(root, "url")?, ..Self::default() }),
            "sitemapindex" => Ok(Self { sitemaps: locations(root, "sitemap")?, ..Self::default() }),
            other => Err(SitemapError {
                message: format!("expected the element urlset or sitemapindex, found {other}"),
                source: None,
            }),
        }
    }
}

/// The texts of `loc` in the children of this name. Extensions have elements `loc` further inside,
/// for example those of images.
fn locations(root: Node<'_, '_>, name: &str) -> Result<Vec<Uri>, SitemapError> {
    let is = |node: &Node<'_, '_>, name| {
        let tag = node.tag_name();
        tag.name() == name && tag.namespace() == root.tag_name().namespace()
    };
    let entries = root.children().filter(|entry| is(entry, name));
    let all = entries.flat_map(|entry| entry.children()).filter(|child| is(child, "loc"));
    all.map(|location| uri(location)).collect()
}

fn uri(location: Node<'_, '_>) -> Result<Uri, SitemapError> {
    let texts = location.children().filter(Node::is_text);
    let text: String = texts.filter_map(|node| node.text()).collect();
    let text = text.trim();
    text.parse().map_err(|error| SitemapError::new(format!("invalid URL {text:?}"), error))
}

impl SitemapError {
    fn new(message: String, source: impl Error + Send + Sync + 'static) -> Self {
        Self { message, source: Some(Box::new(source)) }
    }
}

impl fmt::Display for SitemapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SitemapError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMESPACES: &str = "xmlns='http://www.sitemaps.org/schemas/sitemap/0.9' \
        xmlns:image='http://www.google.com/schemas/sitemap-image/1.1'";

    fn parse(root: &str, inside: &str) -> Result<Sitemap, SitemapError> {
        format!("<{root} {NAMESPACES}>{inside}</{root}>").parse()
    }

    #[test]
    fn sitemap_lists_pages_without_their_images() {
        let inside = "<url><loc>\n https://a/1 </loc><image:image><image:loc>https://a/i.png\
            </image:loc></image:image></url><!-- <url><loc>https://a/no</loc></url> -->\
            <url><lastmod>2026-01-01</lastmod><loc><![CDATA[https://a/?x=1&y=2]]></loc></url>";
        let sitemap = parse("urlset", inside).expect("valid sitemap");
        assert_eq!(sitemap.pages, ["https://a/1", "https://a/?x=1&y=2"]);
        assert!(sitemap.sitemaps.is_empty());
    }

    #[test]
    fn sitemap_index_lists_sitemaps() {
        let inside = "<sitemap><loc>https://a/one.xml</loc></sitemap>";
        let sitemap = parse("sitemapindex", inside).expect("valid sitemap index");
        assert_eq!(sitemap.sitemaps, ["https://a/one.xml"]);
        assert!(sitemap.pages.is_empty());
    }

    #[test]
    fn sitemap_without_a_namespace_is_accepted() {
        let sitemap: Result<Sitemap, _> = "<urlset><url><loc>/a</loc></url></urlset>".parse();
        assert_eq!(sitemap.expect("valid sitemap").pages, ["/a"]);
    }

    #[test]
    fn other_texts_are_errors() {
        let error = |xml: &str| xml.parse::<Sitemap>().expect_err("no sitemap").to_string();
        assert!(error("").contains("XML") && error("<urlset>").contains("XML"));
        assert!(error("<html/>").contains("html"));
        let bomb = "<!DOCTYPE urlset [<!ENTITY a 'aaaa'>]><urlset>&a;</urlset>";
        assert!(error(bomb).contains("XML"));
        let invalid = parse("urlset", "<url><loc>https://a b</loc></url>").expect_err("no URL");
        assert!(invalid.to_string().contains("https://a b") && invalid.source().is_some());
    }
}
