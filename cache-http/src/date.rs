//! Dates in headers: three forms are parsed leniently, and one is written (RFC 9110,
//! section 5.6.7).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, header::HeaderName};

/// A time of the system clock, as the time since 1970-01-01 UTC.
pub(crate) type UnixTime = Duration;

/// Reads the date in a header. It is `None` if the header is absent, invalid or repeated.
pub(crate) fn read(headers: &HeaderMap, name: &HeaderName) -> Option<UnixTime> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => parse(line),
        _ => None,
    }
}

/// Reads the date in `Expires`. An invalid date lies in the past (RFC 9111, section 5.3).
pub(crate) fn read_expires(headers: &HeaderMap) -> Option<UnixTime> {
    headers
        .contains_key(http::header::EXPIRES)
        .then(|| read(headers, &http::header::EXPIRES).unwrap_or_default())
}

fn parse(line: &HeaderValue) -> Option<UnixTime> {
    let text = line.to_str().ok()?.trim();
    let date = httpdate::parse_http_date(text).ok().or_else(|| {
        // A cache should parse dates in any case (RFC 9111, section 4.2).
        let text = in_usual_case(text);
        httpdate::parse_http_date(&text).ok().or_else(|| with_another_weekday(&text))
    })?;
    date.duration_since(UNIX_EPOCH).ok()
}

/// Parses a date with a wrong weekday, which the rest of the date determines.
fn with_another_weekday(text: &str) -> Option<SystemTime> {
    const WEEKDAYS: [&str; 7] =
        ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
    let (weekday, rest) = text.split_at(text.find([',', ' '])?);
    let is_short = WEEKDAYS.iter().any(|name| weekday == &name[..3]);
    if !is_short && !WEEKDAYS.contains(&weekday) {
        return None;
    }
    WEEKDAYS.iter().find_map(|name| {
        let name = if is_short { &name[..3] } else { name };
        httpdate::parse_http_date(&format!("{name}{rest}")).ok()
    })
}

/// Writes words as in `Sun` and `Nov`, and `GMT` in upper case.
fn in_usual_case(text: &str) -> String {
    let mut within = false;
    let letters = text.chars().map(|letter| {
        let first = !std::mem::replace(&mut within, letter.is_ascii_alphabetic());
        if first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    });
    letters.collect::<String>().replace("Gmt", "GMT")
}

/// The last second that the format can express: the end of the year 9999.
const LAST: u64 = 253_402_300_799;

/// Formats a time as a header value, in whole seconds.
pub(crate) fn write(time: UnixTime) -> HeaderValue {
    let time: SystemTime = UNIX_EPOCH + Duration::from_secs(time.as_secs().min(LAST));
    HeaderValue::from_str(&httpdate::fmt_http_date(time))
        .unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use http::header::{DATE, EXPIRES};

    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(EXPIRES, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn three_forms_are_parsed_and_one_is_written() {
        for form in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            let time = read_expires(&headers(&[form])).expect("valid date");
            assert_eq!(write(time), "Sun, 06 Nov 1994 08:49:37 GMT", "{form}");
        }
    }

    #[test]
    fn dates_are_parsed_in_any_case() {
        let expected = read_expires(&headers(&["Sun, 06 Nov 1994 08:49:37 GMT"]));
        for form in [
            "sun, 06 nov 1994 08:49:37 gmt",
            "SUNDAY, 06-NOV-94 08:49:37 GMT",
            "sUN nOV  6 08:49:37 1994",
        ] {
            assert_eq!(read_expires(&headers(&[form])), expected, "{form}");
        }
    }

    #[test]
    fn wrong_weekday_is_ignored() {
        let expected = read_expires(&headers(&["Sun, 06 Nov 1994 08:49:37 GMT"]));
        for form in [
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "wednesday, 06-nov-94 08:49:37 gmt",
            "Sat Nov  6 08:49:37 1994",
        ] {
            assert_eq!(read_expires(&headers(&[form])), expected, "{form}");
        }
        for form in [
            "Som, 06 Nov 1994 08:49:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sunday, 06 Nov 1994 08:49:37 GMT",
            "Sunday",
            "Sun, ",
        ] {
            assert_eq!(read_expires(&headers(&[form])), Some(Duration::ZERO), "{form}");
        }
    }

    #[test]
    fn invalid_or_repeated_expires_lies_in_the_past() {
        assert_eq!(read_expires(&headers(&[])), None);
        assert_eq!(read_expires(&headers(&["0"])), Some(Duration::ZERO));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(read_expires(&headers(&[date, date])), Some(Duration::ZERO));
        assert_eq!(read(&headers(&[date]), &DATE), None);
    }

    #[test]
    fn time_after_the_year_9999_is_written_as_its_last_second() {
        assert_eq!(write(Duration::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
