//! The header of a message: where it ends, and its fields (RFC 5322, section 2.2).

/// Bytes up to and with the first empty line; everything if there is none.
pub(crate) fn header_length(message: &[u8]) -> usize {
    let mut line_start = 0;
    while line_start < message.len() {
        let end = line_end(message, line_start);
        if matches!(&message[line_start..end], b"\n" | b"\r\n") {
            return end;
        }
        line_start = end;
    }
    message.len()
}

/// Names and values of the fields, in order, values with their folding; lines that are no field are left out.
pub(crate) fn fields(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < header.len() && !matches!(&header[at..], b"\n" | b"\r\n") {
            let start = at;
            at = line_end(header, at);
            while matches!(header.get(at), Some(b' ' | b'\t')) {
                at = line_end(header, at);
            }
            let field = &header[start..at];
            if let Some(colon) = memchr::memchr2(b':', b'\n', field).filter(|&i| field[i] == b':') {
                return Some((field[..colon].trim_ascii_end(), &field[colon + 1..]));
            }
        }
        None
    })
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    memchr::memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |i| from + i + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_ends_with_the_first_empty_line() {
        assert_eq!(header_length(b"A: b\r\n\r\nbody\r\n\r\n"), 8);
        assert_eq!(header_length(b"\r\nbody"), 2);
        assert_eq!(header_length(b"A: b\n\nbody"), 6);
        assert_eq!(header_length(b"A: b"), 4);
        assert_eq!(header_length(b""), 0);
    }

    #[test]
    fn folded_fields_stay_whole() {
        let all: Vec<_> = fields(b"A: one\r\n two\r\nnot a field\r\nB : x\r\n\r\n").collect();
        assert_eq!(all, [(&b"A"[..], &b" one\r\n two\r\n"[..]), (b"B", b" x\r\n")]);
    }
}
