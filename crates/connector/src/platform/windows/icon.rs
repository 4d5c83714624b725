//! The icon beside the clock, drawn rather than stored, so that it is sharp at every size. An envelope; what the state is shows
//! in its badge's shape as well as in colours.

use std::ptr::null_mut;

use windows_sys::Win32::{
    Graphics::Gdi::{
        BI_RGB, BITMAPINFO, BITMAPINFOHEADER, CreateBitmap, CreateDIBSection, DIB_RGB_COLORS, DeleteObject,
    },
    UI::WindowsAndMessaging::{CreateIconIndirect, DestroyIcon, HICON, ICONINFO},
};

use crate::tray::State;

/// An icon of the system, destroyed with its owner.
#[derive(Debug)]
pub(super) struct Icon(pub HICON);

impl Icon {
    /// Draws the icon for a state, `size` points wide and high. Null where the system makes none: then it shows a blank.
    pub(super) fn draw(state: State, size: i32) -> Self {
        let pixels = pixels(state, usize::try_from(size).unwrap_or(16));
        let header = BITMAPINFOHEADER {
            biSize: u32::try_from(size_of::<BITMAPINFOHEADER>()).unwrap_or_default(),
            biWidth: size,
            // Negative: the first line is the uppermost.
            biHeight: -size,
            biPlanes: 1,
            biBitCount: 32,
            biCompression: BI_RGB,
            ..Default::default()
        };
        let about = BITMAPINFO { bmiHeader: header, ..Default::default() };
        let mut bits = null_mut();
        // SAFETY: the section has size × size pixels of four bytes, as many as are copied into it; the mask is made without
        // bits, for the picture's own transparency counts; both are deleted after the icon has copied them.
        unsafe {
            let colour = CreateDIBSection(null_mut(), &raw const about, DIB_RGB_COLORS, &raw mut bits, null_mut(), 0);
            if colour.is_null() || bits.is_null() {
                return Self(null_mut());
            }
            std::ptr::copy_nonoverlapping(pixels.as_ptr(), bits.cast::<u32>(), pixels.len());
            let opaque = vec![0u8; usize::try_from((size + 15) / 16 * 2 * size).unwrap_or_default()];
            let mask = CreateBitmap(size, size, 1, 1, opaque.as_ptr().cast());
            let whole = ICONINFO { fIcon: 1, xHotspot: 0, yHotspot: 0, hbmMask: mask, hbmColor: colour };
            let icon = CreateIconIndirect(&raw const whole);
            DeleteObject(colour);
            DeleteObject(mask);
            Self(icon)
        }
    }
}

impl Drop for Icon {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: made by `draw`, destroyed once.
            unsafe { DestroyIcon(self.0) };
        }
    }
}

/// Samples along each side of a pixel.
const FINE: usize = 4;

/// The picture, line by line from above: alpha, red, green, blue.
fn pixels(state: State, size: usize) -> Vec<u32> {
    let samples = (FINE * FINE) as u32;
    let mut all = Vec::with_capacity(size * size);
    for y in 0..size {
        for x in 0..size {
            let mut sum = [0u32; 4];
            for sample in 0..FINE * FINE {
                let at = |whole: usize, part: usize| (whole as f32 + (part as f32 + 0.5) / FINE as f32) / size as f32;
                let colour = colour(state, at(x, sample % FINE), at(y, sample / FINE));
                if let Some(colour) = colour {
                    sum[0] += 255;
                    for (sum, part) in sum[1..].iter_mut().zip(colour) {
                        *sum += u32::from(part);
                    }
                }
            }
            // Icons carry colours that are not multiplied with their alpha.
            let covered = (sum[0] / 255).max(1);
            let [red, green, blue] = [1, 2, 3].map(|part| sum[part] / covered);
            all.push((sum[0] / samples) << 24 | red << 16 | green << 8 | blue);
        }
    }
    all
}

type Colour = [u8; 3];
const WHITE: Colour = [255, 255, 255];

/// What is seen at a point of the unit square. `None`: nothing.
fn colour(state: State, x: f32, y: f32) -> Option<Colour> {
    let (body, badge): (Colour, Colour) = match state {
        State::Online => ([0x1f, 0x6f, 0xc4], [0x2e, 0x9e, 0x4f]),
        State::Offline => ([0x75, 0x7d, 0x86], [0xb3, 0x2d, 0x2d]),
        State::Upgrading => ([0x1f, 0x6f, 0xc4], [0xd9, 0x7b, 0x0c]),
    };
    let (dx, dy) = (x - 0.72, y - 0.72);
    let distance = (dx * dx + dy * dy).sqrt();
    if distance < 0.27 {
        let stroke = match state {
            // A tick.
            State::Online => {
                near(dx, dy, [-0.13, 0.01], [-0.03, 0.11], 0.045) || near(dx, dy, [-0.03, 0.11], [0.14, -0.1], 0.045)
            }
            // A bar.
            State::Offline => dx.abs() < 0.15 && dy.abs() < 0.05,
            // An arrow upwards.
            State::Upgrading => {
                (dx.abs() < 0.05 && (-0.1..0.15).contains(&dy))
                    || near(dx, dy, [0.0, -0.14], [-0.12, -0.01], 0.045)
                    || near(dx, dy, [0.0, -0.14], [0.12, -0.01], 0.045)
            }
        };
        return Some(if stroke { WHITE } else { badge });
    }
    if distance < 0.32 {
        // A gap around the badge.
        return None;
    }
    if !(0.04..0.96).contains(&x) || !(0.14..0.8).contains(&y) {
        return None;
    }
    let flap = near(x, y, [0.1, 0.22], [0.5, 0.52], 0.04) || near(x, y, [0.9, 0.22], [0.5, 0.52], 0.04);
    Some(if flap { WHITE } else { body })
}

/// Whether a point is within `reach` of the line between two others.
fn near(x: f32, y: f32, from: [f32; 2], to: [f32; 2], reach: f32) -> bool {
    let (dx, dy) = (to[0] - from[0], to[1] - from[1]);
    let along = (((x - from[0]) * dx + (y - from[1]) * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    let (px, py) = (x - from[0] - along * dx, y - from[1] - along * dy);
    px * px + py * py < reach * reach
}
