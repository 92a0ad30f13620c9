//! What the derive accepts, and that it says the truth about it.

#![forbid(unsafe_code)]
#![deny(warnings)]

use outlive::atomic::{AtomicU32, AtomicU64};
use outlive::payload::Concurrent;
use outlive::{Payload, Schema, Shared, Trusted};

mod here {
    use super::*;

    #[repr(u8)]
    #[derive(Clone, Copy, Shared)]
    pub enum Side {
        Buy = 1,
        Sell,
    }

    #[repr(C)]
    #[derive(Clone, Copy, Shared)]
    pub struct Order {
        pub id: u64,
        pub side: Side,
        pub r#type: [u8; 3],
    }
}

mod there {
    use super::*;

    const SELL: u8 = 2;

    #[repr(u8)]
    #[derive(Shared)]
    pub enum Side {
        Buy = 1,
        Sell = SELL,
    }

    #[repr(C)]
    #[derive(Shared)]
    pub struct Order {
        pub id: u64,
        pub side: Side,
        pub r#type: [u8; 3],
    }
}

mod changed {
    use super::*;

    #[repr(u8)]
    #[derive(Shared)]
    pub enum Side {
        Sell = 1,
        Buy = 2,
    }

    #[repr(C)]
    #[derive(Shared)]
    pub struct Order {
        pub id: u64,
        pub side: Side,
        pub r#type: [u8; 3],
    }
}

mod renamed {
    use super::*;

    #[repr(C)]
    #[derive(Shared)]
    pub struct Order {
        pub id: u64,
        pub side: here::Side,
        pub kind: [u8; 3],
    }
}

#[repr(transparent)]
#[derive(Shared)]
pub struct Id(pub u64);

#[repr(C, align(64))]
#[derive(Shared)]
pub struct Matrix<T, const N: usize>
where
    T: Copy,
{
    pub rows: [[T; N]; N],
}

#[repr(C)]
#[derive(Default, Shared)]
#[shared(concurrent)]
pub struct Counters {
    pub words: [AtomicU64; 3],
    pub flag: AtomicU32,
    pub filler: AtomicU32, // no padding
    pub more: Pair<AtomicU32>,
}

#[repr(C)]
#[derive(Default, Shared)]
#[shared(crate = "::outlive", concurrent)]
pub struct Pair<T> {
    pub first: T,
    pub second: T,
}

fn fingerprint<T: Payload<Trusted>>() -> u64 {
    T::SCHEMA.fingerprint()
}

fn concurrent<T: Concurrent>() -> Schema {
    T::SCHEMA
}

fn main() {
    assert_eq!(fingerprint::<here::Order>(), fingerprint::<there::Order>());
    assert_ne!(fingerprint::<here::Order>(), fingerprint::<changed::Order>());
    assert_ne!(fingerprint::<here::Order>(), fingerprint::<renamed::Order>());

    let by_hand = Schema::of::<here::Order>("Order")
        .field("id", 0, u64::SCHEMA)
        .field("side", 8, Schema::of::<u8>("Side").variant("Buy", 1).variant("Sell", 2))
        .field("type", 9, <[u8; 3]>::SCHEMA);
    assert_eq!(here::Order::SCHEMA, by_hand);

    assert_eq!(Id::SCHEMA, Schema::of::<u64>("Id").field("0", 0, u64::SCHEMA));
    assert_eq!((Matrix::<f32, 4>::SCHEMA.size(), Matrix::<f32, 4>::SCHEMA.align()), (64, 64));
    assert_ne!(fingerprint::<Matrix<f32, 4>>(), fingerprint::<Matrix<u32, 4>>());
    assert_eq!(concurrent::<Counters>().size(), 40);
    assert_ne!(concurrent::<Pair<AtomicU32>>().fingerprint(), concurrent::<Pair<AtomicU64>>().fingerprint());
}
