//! What a bearer token may look like: long enough that nobody finds it by trying, and of what fits a header.

/// Longest token: a head may be 16 KiB, with everything else in it.
pub const MAX_BYTES: usize = 4096;

/// Shortest token: a shorter one could be found by trying.
pub const MIN_BYTES: usize = 16;

/// The token in a file or a Secret: what editors and shells put at the end is not part of it.
///
/// # Errors
/// Why it is none; never what it holds.
pub fn of(text: &[u8]) -> Result<&[u8], String> {
    let token = text.trim_ascii_end();
    if token.is_empty() {
        return Err("it is empty".to_owned());
    }
    if !(MIN_BYTES..=MAX_BYTES).contains(&token.len()) {
        return Err(format!("a token is {MIN_BYTES} to {MAX_BYTES} characters long"));
    }
    if !is_token(token) {
        return Err("a token is of [A-Za-z0-9-._~+/], with '=' at its end only".to_owned());
    }
    Ok(token)
}

/// What RFC 6750 takes as a token (`b64token`), of whatever length.
#[must_use]
pub fn is_token(token: &[u8]) -> bool {
    let padding = token.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &token[..token.len() - padding];
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    !body.is_empty() && body.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_line_at_its_end_is_not_part_of_it_and_what_is_none_is_told() {
        assert_eq!(of(b"0123456789abcdef-._~+/==\n"), Ok(&b"0123456789abcdef-._~+/=="[..]));
        for (text, why) in [("\n", "empty"), ("tooshort", "16 to 4096"), ("0123456789 0123456789", "is of")] {
            assert!(of(text.as_bytes()).is_err_and(|said| said.contains(why)), "{text:?}");
        }
    }
}
