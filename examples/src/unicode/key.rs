//! The keys of the table: `U+` and the code point in 4 to 6 upper-case hexadecimal digits.

/// True if `key` names a code point in the form the table uses.
///
/// One code point has one key: lower-case digits, leading zeros beyond four digits and numbers above `U+10FFFF` are no
/// keys. Otherwise a cache would hold the same name under several keys, and removing one would leave the others.
#[must_use]
pub fn is_well_formed(key: &str) -> bool {
    let Some(digits) = key.strip_prefix("U+") else { return false };
    if !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'A'..=b'F')) {
        return false;
    }
    u32::from_str_radix(digits, 16).is_ok_and(|code| code <= 0x10_FFFF && format!("{code:04X}") == digits)
}

/// The key of a character.
#[must_use]
pub fn of(character: char) -> String {
    format!("U+{:04X}", u32::from(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_has_exactly_one_key() {
        for good in ["U+0041", "U+1F980", "U+10FFFF", "U+D800"] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in [
            "", "U+", "0041", "U+41", "U+041", "U+00041", "u+0041", "U+1f980", "U+110000", "U+0041 ",
            "U++041",
        ] {
            assert!(!is_well_formed(bad), "{bad}");
        }
        assert_eq!(of('🦀'), "U+1F980");
        assert_eq!(of('A'), "U+0041");
    }
}
