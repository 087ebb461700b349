-- 教育部门示例库。学生、学校、证件号码均为虚构。
-- SQLite 3.37 起。金额以 TEXT 存放：NUMERIC 列会把 '12.30' 变成二进制浮点数。
PRAGMA journal_mode = WAL;

CREATE TABLE IF NOT EXISTS students (
  student_no    TEXT PRIMARY KEY NOT NULL,
  full_name     TEXT NOT NULL,
  id_number     TEXT,
  birth_date    TEXT NOT NULL,                   -- YYYY-MM-DD
  guardian_name TEXT,
  school_code   TEXT NOT NULL,
  grade         INTEGER NOT NULL,
  status        TEXT NOT NULL,
  boarding      INTEGER NOT NULL CHECK (boarding IN (0, 1)),
  entered_on    TEXT NOT NULL,
  health_note   TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS enrolments (
  student_no    TEXT NOT NULL,
  school_year   INTEGER NOT NULL,
  school_code   TEXT NOT NULL,
  programme     TEXT NOT NULL,
  registered_at TEXT NOT NULL,                   -- YYYY-MM-DD HH:MM:SS，当地时间
  first_lesson  TEXT,                            -- HH:MM:SS
  tuition       TEXT NOT NULL,
  subsidy       TEXT,
  hardship      INTEGER NOT NULL CHECK (hardship IN (0, 1)),
  PRIMARY KEY (student_no, school_year)
) STRICT;

CREATE TABLE IF NOT EXISTS degrees (
  certificate_no TEXT PRIMARY KEY NOT NULL,
  holder_name    TEXT NOT NULL,
  institution    TEXT NOT NULL,
  level          TEXT NOT NULL,
  major          TEXT NOT NULL,
  awarded_on     TEXT NOT NULL,                  -- YYYY-MM-DD
  average_score  REAL,
  credit_ratio   REAL,
  comment        TEXT
) STRICT;

INSERT INTO students VALUES
  ('G990102001', '陈一诺', '990104201009010047', '2010-09-01', '陈思远', 'S990102007', 10, '在读', 0, '2026-09-01', NULL),
  ('G990102002', '苏子墨', '990102201105176052', '2011-05-17', '林婉清', 'S990102007', 9, '在读', 0, '2023-09-01', '花生过敏'),
  ('G990102003', '赵海星', NULL, '2013-01-30', '赵德生', 'S990103002', 7, '转入', 1, '2026-02-23', NULL),
  ('G990102004', '何知夏', '990104200412302061', '2004-12-30', NULL, 'U990000001', 15, '休学', 1, '2023-09-04', NULL);

INSERT INTO enrolments VALUES
  ('G990102001', 2026, 'S990102007', '高一（3）班', '2026-08-29 09:10:00', '08:00:00', '0.00', NULL, 0),
  ('G990102002', 2026, 'S990102007', '初三（1）班', '2026-08-29 09:42:18', '08:00:00', '0.00', NULL, 0),
  ('G990102003', 2026, 'S990103002', '初一（2）班', '2026-08-30 14:05:33', '08:10:00', '0.00', '1500.00', 1),
  ('G990102004', 2026, 'U990000001', '水利水电工程', '2026-09-03 10:20:00', NULL, '5460.00', '2000.00', 1);

INSERT INTO degrees VALUES
  ('D9900012014000017', '陈思远', '示范理工大学', '硕士', '控制工程', '2014-06-27', 87.25, 1.0, '论文选题紧扣生产，数据扎实。'),
  ('D9900012014000018', '林婉清', '云溪师范学院', '学士', '汉语言文学', '2014-06-20', 91.5, 1.0, NULL),
  ('D9900012008000019', '周立群', '示范理工大学', '博士', '电子科学与技术', '2008-12-31', NULL, 0.97, '独立完成实验平台，创新性强。');
