//! The education office: students, their school years, their degrees.

use super::office::Desk;
use crate::people::{Person, name};

pub(super) const TABLES: &[&str] = &["students", "enrolments", "degrees"];

const INSTITUTIONS: &[&str] = &["示范理工大学", "云溪师范学院", "东湖职业技术学院"];
const MAJORS: &[&str] =
    &["水利水电工程", "汉语言文学", "控制工程", "护理学", "海洋渔业科学与技术", "应用统计学"];
const LEVELS: &[&str] = &["学士", "硕士", "博士", "专科"];
const COMMENTS: &[&str] =
    &["论文选题紧扣生产，数据扎实。", "独立完成实验平台，创新性强。", "勤勉踏实，团队协作好。"];
/// The key of a school year as one text.
const ENROLMENT: &str = "student_no || ',' || school_year";
const LARGE_ROWS: u64 = 250;

pub(super) fn transact(desk: &mut Desk<'_>, large: bool) -> anyhow::Result<()> {
    if large {
        return admit(desk, LARGE_ROWS);
    }
    match desk.random.below(12) {
        0..=2 => admit(desk, 1),
        3 => {
            let students = desk.random.between(3, 12);
            admit(desk, students)
        }
        4..=5 => promote(desk),
        6 => transfer(desk),
        7 => support(desk),
        8..=9 => award(desk),
        10 => correct_award(desk),
        _ => withdraw(desk),
    }
}

/// A student and the first school year belong to one transaction.
fn admit(desk: &mut Desk<'_>, students: u64) -> anyhow::Result<()> {
    for _ in 0..students {
        let child = Person::invent(desk.random, 2006, 2019);
        let number = format!("G{:09}", 991_000_000 + desk.serial());
        let school = format!("S{:09}", desk.random.between(1, 40));
        let guardian = desk.random.chance(90).then(|| name(desk.random));
        let id = desk.random.chance(90).then_some(child.id_number);
        let grade = i64::try_from(desk.random.between(1, 12)).unwrap_or_default();
        let note = desk.random.chance(10).then_some("花生过敏");
        let boarding = i64::from(desk.random.chance(30));
        let now = desk.now();
        desk.insert(
            "students",
            &[
                &number,
                &child.name,
                &id,
                &child.birth_date,
                &guardian,
                &school,
                &grade,
                &"在读",
                &boarding,
                &now.date(),
                &note,
            ],
        )?;
        enrol(desk, &number, 2026, &school)?;
    }
    Ok(())
}

fn enrol(desk: &mut Desk<'_>, student: &str, year: i64, school: &str) -> anyhow::Result<()> {
    let class = format!("初{}（{}）班", desk.random.pick(&["一", "二", "三"]), desk.random.between(1, 9));
    let lesson = desk.random.chance(90).then_some("08:00:00");
    let hardship = desk.random.chance(15);
    let (tuition, subsidy) = (desk.amount(0, 6000), hardship.then(|| desk.amount(500, 2000)));
    let now = desk.now().local();
    desk.insert(
        "enrolments",
        &[&student, &year, &school, &class, &now, &lesson, &tuition, &subsidy, &i64::from(hardship)],
    )
}

fn promote(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let which = "student_no NOT IN (SELECT student_no FROM enrolments WHERE school_year = 2027)";
    let Some(student) = desk.some("students", "student_no", which)? else { return admit(desk, 1) };
    desk.update("students", "SET grade = grade + 1 WHERE student_no = ?", &[&student])?;
    enrol(desk, &student, 2027, "S990102007")
}

fn transfer(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(student) = desk.some("students", "student_no", "TRUE")? else { return admit(desk, 1) };
    let school = format!("S{:09}", desk.random.between(41, 80));
    desk.update("students", "SET school_code = ?, status = '转入' WHERE student_no = ?", &[&school, &student])
}

fn support(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(row) = desk.some("enrolments", ENROLMENT, "NOT hardship")? else { return admit(desk, 1) };
    let subsidy = desk.amount(500, 2000);
    desk.update(
        "enrolments",
        &format!("SET hardship = TRUE, subsidy = ? WHERE {ENROLMENT} = ?"),
        &[&subsidy, &row],
    )
}

fn award(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let number = format!("D{:016}", 9_900_012_026_000_000 + desk.serial());
    let (holder, place) = (name(desk.random), desk.random.pick(INSTITUTIONS));
    let (level, major) = (desk.random.pick(LEVELS), desk.random.pick(MAJORS));
    let score = desk.random.chance(80).then(|| desk.random.between(240, 400));
    let score = score.and_then(|score| u32::try_from(score).ok()).map(|score| f64::from(score) / 4.0);
    let comment = desk.random.chance(60).then(|| desk.random.pick(COMMENTS));
    let now = desk.now().date();
    desk.insert("degrees", &[&number, &holder, &place, &level, &major, &now, &score, &1.0, &comment])
}

fn correct_award(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(degree) = desk.some("degrees", "certificate_no", "TRUE")? else { return award(desk) };
    if desk.random.chance(40) {
        return desk.delete("degrees", "certificate_no = ?", &[&degree]);
    }
    let major = desk.random.pick(MAJORS);
    desk.update("degrees", "SET major = ?, credit_ratio = 0.98 WHERE certificate_no = ?", &[&major, &degree])
}

fn withdraw(desk: &mut Desk<'_>) -> anyhow::Result<()> {
    let Some(student) = desk.some("students", "student_no", "TRUE")? else { return admit(desk, 1) };
    desk.delete("enrolments", "student_no = ?", &[&student])?;
    desk.delete("students", "student_no = ?", &[&student])
}
