//! There are two modes.

use outlive::Trust;

enum Half {}

impl Trust for Half {}

fn main() {}
