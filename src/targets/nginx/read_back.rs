//! Reads the bodies of nginx's maps.

use crate::targets::read_back::meant::counted;
use crate::trust::render::Odd;

/// That many lines of a map, and besides only comments.
pub(super) fn map(text: &str, meant: usize) -> Result<(), Odd> {
    let lines = || text.lines().filter(|line| !line.starts_with('#'));
    if let Some(odd) = lines().find(|line| !is_map_line(line)) {
        return Err((format!("{odd:?}"), "lines of a map".to_owned()));
    }
    counted(lines().count(), meant, "lines")
}

/// `"key" "value";` or `default "value";`: nothing that could be a directive, and no quote left open.
fn is_map_line(line: &str) -> bool {
    let Some(body) = line.strip_suffix("\";") else { return false };
    let Some((key, value)) = body.rsplit_once(" \"") else { return false };
    let plain = |text: &str| text.chars().all(|each| each.is_ascii_alphanumeric());
    let key_is_quoted = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).is_some_and(|key| {
        let mut escaped = false;
        key.chars().all(|each| {
            let open = !escaped && each == '"';
            escaped = !escaped && each == '\\';
            !open && !each.is_control()
        })
    });
    plain(value) && (key == "default" || key_is_quoted)
}
