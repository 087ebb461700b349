//! The tax office: registrations, declarations, payments.

use super::office::Desk;
use crate::people::{Person, name};

pub(super) const TABLES: &[&str] = &["taxpayers", "declarations", "payments"];

const TRADES: &[&str] = &["电子", "纺织", "渔业", "餐饮", "物流", "软件", "建材", "医疗器械"];
const KINDS: &[(&str, &str)] =
    &[("企业", "有限公司"), ("个体工商户", "商行"), ("农民专业合作社", "专业合作社")];
const TAXES: &[&str] = &["增值税", "企业所得税", "个人所得税", "房产税"];
const CHANNELS: &[&str] = &["三方协议扣款", "银行端查询缴税", "云溪税务网厅"];
const LARGE_ROWS: u64 = 300;

pub(super) fn transact(desk: &mut Desk<'_>, large: bool) -> anyhow::Result<()> {
    if large {
        return declare(desk, LARGE_ROWS);
    }
    match desk.random.below(12) {
        0..=2 => register(desk),
        3..=4 => declare(desk, 1),
        5 => {
            let rows = desk.random.between(3, 15);
            declare(desk, rows)
        }
        6 => move_premises(desk),
        7..=8 => amend(desk),
        9 => waive_late_fee(desk),
        10 => withdraw(desk),
        _ => close_down(desk),
    }
}

fn register(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let owner = Person::invent(desk.random, 1955, 2000);
    let number = format!("T{:010}", 9_901_100_000 + desk.serial());
    let at = usize::try_from(desk.random.below(3)).unwrap_or_default();
    let (kind, suffix) = KINDS.get(at).copied().unwrap_or_default();
    let firm = format!("云溪市{}{}{suffix}", name(desk.random), desk.random.pick(TRADES));
    let industry = desk.random.chance(85).then(|| format!("C{:04}", desk.random.between(1000, 4999)));
    let (risk, id) = (desk.random.below(400), desk.random.chance(85).then_some(owner.id_number));
    let since = desk.now().date();
    let region = 999_100 + i64::try_from(desk.random.between(2, 5)).unwrap_or_default();
    desk.insert(
        "taxpayers",
        &[
            &number,
            &firm,
            &kind,
            &region,
            &industry,
            &since,
            &1,
            &owner.name,
            &id,
            &owner.mobile,
            &owner.address,
            &(f64::from(u32::try_from(risk).unwrap_or_default()) / 4.0),
        ],
    )
}

/// A declaration and its payment belong to one transaction.
fn declare(desk: &mut Desk<'_>, declarations: u64) -> anyhow::Result<()> {
    for _ in 0..declarations {
        let Some(taxpayer) = desk.some("taxpayers", "taxpayer_no", "TRUE")? else {
            return register(desk);
        };
        let kind = desk.random.pick(TAXES);
        let now = desk.now();
        let due = desk.amount(50, 90_000);
        let relief = desk.random.chance(30).then(|| desk.amount(10, 50));
        let children = desk.random.chance(25).then(|| desk.random.between(1, 3));
        let school = children.map(|_| format!("S{:09}", desk.random.between(1, 40)));
        let deduction = children.map(|children| format!("{}.00", children * 2000));
        let declaration = i64::try_from(1_000_000 + desk.serial()).unwrap_or_default();
        let income = desk.amount(4000, 900_000);
        desk.insert(
            "declarations",
            &[
                &declaration,
                &taxpayer,
                &kind,
                &now.period(),
                &now.instant(),
                &income,
                &due,
                &relief,
                &children.map(|n| i64::try_from(n).unwrap_or_default()),
                &school,
                &deduction,
            ],
        )?;
        let receipt = desk.random.chance(70).then(|| {
            [desk.random.next(), desk.random.next(), desk.random.next(), desk.random.next()]
                .iter()
                .flat_map(|word| word.to_be_bytes())
                .collect::<Vec<u8>>()
        });
        let late = desk.random.chance(20).then(|| desk.amount(1, 200));
        let (payment, channel) =
            (i64::try_from(2_000_000 + desk.serial()).unwrap_or_default(), desk.random.pick(CHANNELS));
        desk.insert("payments", &[&payment, &taxpayer, &kind, &now.date(), &channel, &receipt, &due, &late])?;
    }
    Ok(())
}

fn move_premises(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(taxpayer) = desk.some("taxpayers", "taxpayer_no", "TRUE")? else { return register(desk) };
    let owner = Person::invent(desk.random, 1955, 2000);
    desk.update(
        "taxpayers",
        "SET address = ?, phone = ? WHERE taxpayer_no = ?",
        &[&owner.address, &owner.mobile, &taxpayer],
    )
}

fn amend(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(declaration) = desk.some("declarations", "declaration_id", "TRUE")? else {
        return declare(desk, 1);
    };
    let (due, now) = (desk.amount(50, 90_000), desk.now().instant());
    desk.update(
        "declarations",
        "SET tax_due = ?, submitted_at = ? WHERE declaration_id = ?",
        &[&due, &now, &declaration],
    )
}

fn waive_late_fee(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(payment) = desk.some("payments", "payment_id", "late_fee IS NOT NULL")? else {
        return declare(desk, 1);
    };
    desk.update("payments", "SET late_fee = NULL WHERE payment_id = ?", &[&payment])
}

/// A declaration made twice is taken back, and the taxpayer's newest payment with it.
fn withdraw(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(declaration) = desk.some("declarations", "declaration_id", "TRUE")? else {
        return declare(desk, 1);
    };
    desk.delete("declarations", "declaration_id = ?", &[&declaration])?;
    let Some(payment) = desk.some("payments", "payment_id", "TRUE")? else { return Ok(()) };
    desk.delete("payments", "payment_id = ?", &[&payment])
}

fn close_down(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(taxpayer) = desk.some("taxpayers", "taxpayer_no", "NOT active")? else {
        let Some(taxpayer) = desk.some("taxpayers", "taxpayer_no", "TRUE")? else {
            return register(desk);
        };
        return desk.update("taxpayers", "SET active = FALSE WHERE taxpayer_no = ?", &[&taxpayer]);
    };
    desk.delete("taxpayers", "taxpayer_no = ?", &[&taxpayer])
}
