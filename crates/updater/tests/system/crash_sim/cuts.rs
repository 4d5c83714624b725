//! What a power cut can leave of one moment.

use std::collections::BTreeSet;

use rand::{Rng, rngs::StdRng};

use super::disk::{Change, Image, Moment};

/// What becomes of a change that was in the cache only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lost,
    Kept,
    /// Content: its first half.
    Torn,
    /// Content: its length, and nothing in it.
    Zeros,
}

/// All disks that a power cut can leave, or `most` of them: those where one change is lost, or one kept, or all up to one are
/// kept, and others by chance.
pub fn cuts(moment: &Moment, most: usize, chance: &mut StdRng) -> BTreeSet<Vec<u8>> {
    let fates: Vec<&[Fate]> = moment
        .pending
        .iter()
        .map(|change| match change {
            Change::Content { .. } => &[Fate::Lost, Fate::Kept, Fate::Torn, Fate::Zeros][..],
            _ => &[Fate::Lost, Fate::Kept][..],
        })
        .collect();
    let all = fates.iter().try_fold(1_usize, |product, fates| product.checked_mul(fates.len())).unwrap_or(usize::MAX);
    let mut chosen = BTreeSet::new();
    if all <= most {
        for number in 0..all {
            let mut rest = number;
            let of = |fates: &&[Fate]| {
                let index = rest % fates.len();
                rest /= fates.len();
                index as u8
            };
            chosen.insert(fates.iter().map(of).collect());
        }
        return chosen;
    }
    let n = fates.len();
    let mut shapes: Vec<Vec<u8>> = vec![vec![0; n], vec![1; n]];
    for (i, of) in fates.iter().enumerate() {
        shapes.push((0..n).map(|j| u8::from(j != i)).collect());
        shapes.push((0..n).map(|j| u8::from(j == i)).collect());
        shapes.push((0..n).map(|j| u8::from(j <= i)).collect());
        for torn in 2..of.len() {
            shapes.push((0..n).map(|j| if j == i { torn as u8 } else { 1 }).collect());
        }
    }
    while !shapes.is_empty() && chosen.len() < most * 3 / 4 {
        chosen.insert(shapes.swap_remove(chance.random_range(0..shapes.len())));
    }
    while chosen.len() < most {
        chosen.insert(fates.iter().map(|fates| chance.random_range(0..fates.len()) as u8).collect());
    }
    chosen
}

/// The disk that is left.
pub fn cut(moment: &Moment, fates: &[u8]) -> Image {
    let mut image = moment.durable.clone();
    for (change, fate) in moment.pending.iter().zip(fates) {
        match ([Fate::Lost, Fate::Kept, Fate::Torn, Fate::Zeros][usize::from(*fate)], change) {
            (Fate::Lost, _) => {}
            (Fate::Torn, Change::Content { file, bytes }) => {
                image.apply(&Change::Content { file: *file, bytes: bytes[..bytes.len() / 2].to_vec() });
            }
            (Fate::Zeros, Change::Content { file, bytes }) => {
                image.apply(&Change::Content { file: *file, bytes: vec![0; bytes.len()] });
            }
            _ => image.apply(change),
        }
    }
    image
}
