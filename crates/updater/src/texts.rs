//! Texts for people, cut where there is no room for them. Pure.

use serde_json::Value;

/// Cuts a text to so many characters, and puts … where it went on.
pub fn cut(text: &mut String, most: usize) {
    if let Some((end, _)) = text.char_indices().nth(most) {
        text.truncate(end);
        text.push('…');
    }
}

/// Cuts every text that is a member of one of these names, or lies within one.
pub fn cut_members(value: &mut Value, names: &[&str], most: usize) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if names.contains(&name.as_str()) { cut_all(value, most) } else { cut_members(value, names, most) }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| cut_members(item, names, most)),
        _ => {}
    }
}

fn cut_all(value: &mut Value, most: usize) {
    match value {
        Value::String(text) => cut(text, most),
        Value::Object(members) => members.values_mut().for_each(|value| cut_all(value, most)),
        _ => {}
    }
}
