//! Sizes as people write and read them: `64M`, `1.5 GiB`.

/// Bytes from text: a number with an optional `K`, `M`, `G` or `T` (times 1024), also spelt `KiB` or `KB`.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let refusal = || format!("`{text}` is not a size: write 4096, 64K, 64M or 1G");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(refusal()),
    };
    let number: u64 = digits.parse().map_err(|_| refusal())?;
    // Sizes become file offsets, which are signed.
    let limit = u64::MAX >> 1;
    if number > limit >> shift {
        return Err(format!("`{text}` is more than a file can hold"));
    }
    Ok(number << shift)
}

/// A size for reading: `5.1 MiB`.
pub(crate) fn show(bytes: u64) -> String {
    let mut tenths = u128::from(bytes) * 10;
    for unit in ["bytes", "KiB", "MiB", "GiB"] {
        if tenths < 10_240 {
            return match (unit, tenths % 10) {
                ("bytes", _) | (_, 0) => format!("{} {unit}", tenths / 10),
                (_, tenth) => format!("{}.{tenth} {unit}", tenths / 10),
            };
        }
        tenths /= 1024;
    }
    format!("{}.{} TiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::{parse, show};

    #[test]
    fn sizes_with_and_without_units() {
        assert_eq!(parse("4096"), Ok(4096));
        assert_eq!(parse("64K"), Ok(64 << 10));
        assert_eq!(parse("64m"), Ok(64 << 20));
        assert_eq!(parse("1G"), Ok(1 << 30));
        assert_eq!(parse("2 GiB"), Ok(2 << 30));
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", "M", "-1", "1.5G", "12X", "9999999T", "99999999999999999999"] {
            assert!(parse(text).is_err(), "{text:?} was taken for a size");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(show(0), "0 bytes");
        assert_eq!(show(1023), "1023 bytes");
        assert_eq!(show(1 << 20), "1 MiB");
        assert_eq!(show((5 << 20) + (1 << 19)), "5.5 MiB");
        assert_eq!(show(3 << 40), "3.0 TiB");
    }
}
