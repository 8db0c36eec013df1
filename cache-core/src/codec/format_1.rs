//! How a release that knows only format 1 reads an entry: the reader of version 0.1.0, reduced to
//! what it looks at. It does not change, whatever newer releases write.

/// Why the release reports a miss.
#[derive(Debug, PartialEq)]
pub(super) enum Undecodable {
    NoHeader,
    UnknownTag(u8),
}

/// Returns the name of the codec and the body.
pub(super) fn read(entry: &[u8]) -> Result<(&'static str, &[u8]), Undecodable> {
    let &[0xC1, tag, ref body @ ..] = entry else { return Err(Undecodable::NoHeader) };
    let codec = match tag {
        0x10 => "bytes",
        0x11 => "text",
        0x12 => "msgpack",
        0x13 => "json",
        0x14 => "postcard",
        _ => return Err(Undecodable::UnknownTag(tag)),
    };
    Ok((codec, body))
}
