//! Header fields as they are in the message (RFC 5322, section 2.2).

/// One field with its folding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    /// The name without the colon; empty for a line that is no field.
    pub(crate) name: &'a [u8],
    /// What follows the colon, with folding and the final line end.
    pub(crate) value: &'a [u8],
    /// The whole field, with the final line end.
    pub(crate) raw: &'a [u8],
}

/// Bytes of the header with the empty line that ends it; everything if there is no empty line.
pub(crate) fn header_length(message: &[u8]) -> usize {
    let mut at = 0;
    while at < message.len() {
        let end = line_end(message, at);
        if matches!(&message[at..end], b"\n" | b"\r\n") {
            return end;
        }
        at = end;
    }
    message.len()
}

/// Where the line that starts at `from` ends, with its line feed.
pub(crate) fn line_end(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |i| from + i + 1)
}

/// The fields of a header, in order; the empty line at its end is not one.
pub(crate) fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= header.len() || matches!(&header[at..], b"\n" | b"\r\n") {
            return None;
        }
        let start = at;
        at = line_end(header, at);
        while matches!(header.get(at), Some(b' ' | b'\t')) {
            at = line_end(header, at);
        }
        let raw = &header[start..at];
        let name_end = raw.iter().position(|&b| b == b':' || b == b'\n').filter(|&i| raw[i] == b':');
        let (name, value) = name_end.map_or((&raw[..0], raw), |i| (raw[..i].trim_ascii_end(), &raw[i + 1..]));
        Some(Field { name, value, raw })
    })
}

/// The first field of this name, unfolded.
pub(crate) fn find(header: &[u8], name: &str) -> Option<Vec<u8>> {
    fields(header).find(|f| f.name.eq_ignore_ascii_case(name.as_bytes())).map(|f| unfold(f.value))
}

/// A field's value on one line: line ends removed, white space around it too (RFC 5322, section 2.2.3).
pub(crate) fn unfold(value: &[u8]) -> Vec<u8> {
    let flat: Vec<u8> = value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    flat.trim_ascii().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_fields_stay_whole_and_the_empty_line_ends_them() {
        let header = b"A: one\r\n two\r\nnot a field\r\nB : x\r\n\r\n";
        let all: Vec<_> = fields(header).collect();
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].raw, b"A: one\r\n two\r\n");
        assert_eq!(unfold(all[0].value), b"one two");
        assert_eq!((all[1].name, all[2].name), (&b""[..], &b"B"[..]));
        assert_eq!(find(header, "b").unwrap(), b"x");
        assert_eq!(header_length(b"A: b\r\n\r\nrest"), 8);
    }
}
