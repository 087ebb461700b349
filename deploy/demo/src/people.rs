//! Invented citizens, and the random numbers they are made of. The same seed gives the same people.
//!
//! Nobody in here can exist: no region of China has a code that begins with 999, and no mobile number begins with 100.

/// A small generator of repeatable random numbers (splitmix64). It keeps no secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias of a small bound is of no consequence here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or_default()
    }

    /// A number of `low..=high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// Whether a thing of `percent` probability happens.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of several words; the empty one when there are none.
    pub(crate) fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        let at = usize::try_from(self.below(words.len() as u64)).unwrap_or_default();
        words.get(at).copied().unwrap_or_default()
    }
}

const FAMILY: &[&str] = &[
    "王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "徐", "孙", "胡", "朱", "高", "林", "何",
    "郭", "马", "罗", "梁", "宋", "郑", "谢", "韩", "唐", "冯", "于", "董", "萧", "程", "曹", "袁", "邓",
    "许", "傅", "沈", "曾", "彭", "吕", "欧阳", "司马", "上官",
];
const GIVEN: &[&str] = &[
    "思远", "婉清", "一诺", "子墨", "知夏", "海星", "立群", "秀兰", "德生", "雨桐", "浩然", "欣怡", "梓涵",
    "俊杰", "雪", "明轩", "静", "建国", "桂英", "志强", "丽华", "晓东", "文博", "佳琪", "天佑", "若曦",
    "宇航", "诗涵", "磊", "梦瑶", "嘉懿", "远帆", "沐阳", "芷若", "𣲗", "喆", "昕玥", "景行", "望舒", "清和",
];
const DISTRICTS: &[(&str, &str)] =
    &[("999102", "东湖区"), ("999103", "南屏区"), ("999104", "西岭县"), ("999105", "北渡镇")];
const STREETS: &[&str] = &["梧桐路", "学府街", "渔港村", "创业大道", "青石巷", "滨河路", "钟楼街", "桃花坞"];

/// A person who does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) name: String,
    pub(crate) id_number: String,
    pub(crate) sex: &'static str,
    /// YYYY-MM-DD
    pub(crate) birth_date: String,
    pub(crate) mobile: String,
    pub(crate) address: String,
}

impl Person {
    /// Invents somebody born between two years, both inclusive.
    pub(crate) fn invent(random: &mut Random, born_from: u64, born_to: u64) -> Person {
        let at = usize::try_from(random.below(DISTRICTS.len() as u64)).unwrap_or_default();
        let (region, district) = DISTRICTS.get(at).copied().unwrap_or_default();
        let (year, month, day) =
            (random.between(born_from, born_to), random.between(1, 12), random.between(1, 28));
        let serial = random.below(1000);
        let digits = format!("{region}{year:04}{month:02}{day:02}{serial:03}");
        Person {
            name: name(random),
            sex: if serial % 2 == 1 { "男" } else { "女" },
            birth_date: format!("{year:04}-{month:02}-{day:02}"),
            mobile: format!("100{:08}", random.below(100_000_000)),
            address: format!("示范省云溪市{district}{} {} 号", random.pick(STREETS), random.between(1, 299)),
            id_number: format!("{digits}{}", check_digit(&digits)),
        }
    }
}

/// A name of two to four characters.
pub(crate) fn name(random: &mut Random) -> String {
    format!("{}{}", random.pick(FAMILY), random.pick(GIVEN))
}

/// The last character of an 18-place number (GB 11643, ISO 7064 MOD 11-2).
fn check_digit(digits: &str) -> char {
    const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    const CHECKS: [char; 11] = ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'];
    let sum: u32 = digits.chars().filter_map(|c| c.to_digit(10)).zip(WEIGHTS).map(|(d, w)| d * w).sum();
    CHECKS.get(usize::try_from(sum % 11).unwrap_or_default()).copied().unwrap_or('X')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_invents_the_same_people() {
        let invent = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| Person::invent(&mut random, 1950, 2008)).collect::<Vec<_>>()
        };
        assert_eq!(invent(7), invent(7));
        assert_ne!(invent(7), invent(8));
    }

    #[test]
    fn nobody_has_a_number_that_could_be_real() {
        let mut random = Random::new(1);
        for _ in 0..500 {
            let person = Person::invent(&mut random, 1950, 2020);
            assert!(person.id_number.starts_with("999"), "{person:?}");
            assert_eq!(person.id_number.chars().count(), 18);
            assert!(person.mobile.starts_with("100") && person.mobile.len() == 11, "{person:?}");
            assert!(person.name.chars().count() >= 2);
        }
    }

    #[test]
    fn the_check_digit_is_the_standards() {
        // The example number that GB 11643 itself prints.
        assert_eq!(check_digit("11010519491231002"), 'X');
        assert_eq!(check_digit("44052418800101001"), '4');
    }

    #[test]
    fn random_numbers_stay_within_their_bounds() {
        let mut random = Random::new(3);
        for _ in 0..1000 {
            assert!((5..=9).contains(&random.between(5, 9)));
            assert!(random.below(3) < 3);
        }
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick(&[]), "");
    }
}
