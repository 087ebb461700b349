//! The social security office: registrations, contributions, benefits.

use super::office::Desk;
use crate::people::Person;

pub(super) const TABLES: &[&str] = &["insured_persons", "contribution_records", "benefit_payments"];

const STATUSES: &[&str] = &["参保缴费", "暂停缴费", "待遇领取"];
const KINDS: &[&str] = &["基本养老保险", "失业保险", "工伤保险", "职工基本医疗保险"];
const BENEFITS: &[&str] = &["养老金", "失业保险金", "生育津贴", "工伤待遇"];
const BANKS: &[&str] = &["云溪农商银行", "示范城市银行", "东湖村镇银行"];
/// The key of a contribution as one text.
const CONTRIBUTION: &str = "person_no || ',' || period || ',' || insurance_kind";
const LARGE_ROWS: u64 = 400;

pub(super) fn transact(desk: &mut Desk<'_>, large: bool) -> anyhow::Result<()> {
    if large {
        return settle_a_month(desk, LARGE_ROWS);
    }
    match desk.random.below(12) {
        0..=2 => register(desk),
        3..=4 => contribute(desk),
        5 => {
            let rows = desk.random.between(4, 20);
            settle_a_month(desk, rows)
        }
        6 => change_status(desk),
        7 => confirm_settlement(desk),
        8..=9 => grant_benefit(desk),
        10 => pay_benefit(desk),
        _ => strike_off(desk),
    }
}

fn register(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let person = Person::invent(desk.random, 1950, 2008);
    let number = format!("P{:08}", 1000 + desk.serial());
    let employer = desk.random.chance(80).then(|| format!("E{:06}", desk.random.between(1, 400)));
    let now = desk.now();
    let note = desk.random.chance(20).then_some("线上办理，材料齐全");
    let mobile = desk.random.chance(90).then_some(person.mobile);
    desk.insert(
        "insured_persons",
        &[
            &number,
            &person.name,
            &person.id_number,
            &person.sex,
            &person.birth_date,
            &mobile,
            &person.address,
            &"参保缴费",
            &now.date(),
            &"城镇职工",
            &employer,
            &now.instant(),
            &note,
        ],
    )?;
    // The first contribution stands in the same transaction as the registration.
    contribution(desk, &number, &now.period(), &employer)
}

fn contribution(
    desk: &mut Desk<'_>,
    person: &str,
    period: &str,
    employer: &Option<String>,
) -> anyhow::Result<()> {
    let base = desk.random.between(4200, 24000);
    let now = desk.now();
    // A serial number makes the period's kind unique, as a supplementary payment would be.
    let kind = format!("{}（{}）", desk.random.pick(KINDS), desk.serial());
    desk.insert(
        "contribution_records",
        &[
            &person,
            &period,
            &kind,
            &format!("{base}.00"),
            &format!("{}.{:02}", base * 8 / 100, base * 8 % 100),
            &format!("{}.{:02}", base * 16 / 100, base * 16 % 100),
            &0,
            &None::<String>,
            employer,
            &now.instant(),
        ],
    )
}

fn contribute(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(person) = desk.some("insured_persons", "person_no", "TRUE")? else {
        return register(desk);
    };
    let period = desk.now().period();
    contribution(desk, &person, &period, &Some("E000021".to_owned()))
}

/// An employer pays for many people at once.
fn settle_a_month(desk: &mut Desk<'_>, rows: u64) -> anyhow::Result<()> {
    let period = desk.now().period();
    let employer = Some(format!("E{:06}", desk.random.between(1, 400)));
    for _ in 0..rows {
        let Some(person) = desk.some("insured_persons", "person_no", "TRUE")? else {
            return register(desk);
        };
        contribution(desk, &person, &period, &employer)?;
    }
    let Some(person) = desk.some("insured_persons", "person_no", "TRUE")? else { return Ok(()) };
    let now = desk.now().instant();
    desk.update(
        "insured_persons",
        "SET employer_code = ?, updated_at = ? WHERE person_no = ?",
        &[&employer, &now, &person],
    )
}

fn confirm_settlement(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(row) = desk.some("contribution_records", CONTRIBUTION, "NOT settled")? else {
        return contribute(desk);
    };
    let now = desk.now();
    desk.update(
        "contribution_records",
        &format!("SET settled = TRUE, settled_on = ?, updated_at = ? WHERE {CONTRIBUTION} = ?"),
        &[&now.date(), &now.instant(), &row],
    )
}

fn change_status(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(person) = desk.some("insured_persons", "person_no", "TRUE")? else {
        return register(desk);
    };
    let status = desk.random.pick(STATUSES);
    let now = desk.now().instant();
    desk.update(
        "insured_persons",
        "SET status = ?, updated_at = ? WHERE person_no = ?",
        &[&status, &now, &person],
    )
}

fn grant_benefit(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(person) = desk.some("insured_persons", "person_no", "TRUE")? else {
        return register(desk);
    };
    let (a, b, c) = (desk.random.next(), desk.random.next(), desk.serial());
    let payment = format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        a >> 32,
        a & 0xffff,
        (a >> 16) & 0xfff,
        b & 0xfff,
        c
    );
    let remark = desk.random.chance(30).then(|| format!("第 {} 期，共 12 期", desk.random.between(1, 12)));
    let (kind, bank) = (desk.random.pick(BENEFITS), desk.random.pick(BANKS));
    let (amount, account) =
        (desk.amount(800, 6000), format!("9900000{:012}", desk.random.below(1_000_000_000)));
    desk.insert(
        "benefit_payments",
        &[&payment, &person, &kind, &amount, &None::<String>, &bank, &account, &remark],
    )
}

fn pay_benefit(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(payment) = desk.some("benefit_payments", "payment_id", "paid_at IS NULL")? else {
        return grant_benefit(desk);
    };
    let now = desk.now().instant();
    desk.update("benefit_payments", "SET paid_at = ? WHERE payment_id = ?", &[&now, &payment])
}

/// A registration made in error goes, with everything that hangs on it: a transaction over all three tables.
fn strike_off(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(person) = desk.some("insured_persons", "person_no", "status <> '待遇领取'")? else {
        return register(desk);
    };
    desk.delete("benefit_payments", "person_no = ?", &[&person])?;
    desk.delete("contribution_records", "person_no = ?", &[&person])?;
    desk.delete("insured_persons", "person_no = ?", &[&person])
}
