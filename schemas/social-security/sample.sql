-- 人社部门示例库。人员、单位、证件号码均为虚构（行政区划 9901 不存在）。
-- SQLite 3.37 起。金额以 TEXT 存放：NUMERIC 列会把 '12.30' 变成二进制浮点数。
PRAGMA journal_mode = WAL;

CREATE TABLE IF NOT EXISTS insured_persons (
  person_no         TEXT PRIMARY KEY NOT NULL,
  full_name         TEXT NOT NULL,
  id_number         TEXT NOT NULL,
  sex               TEXT NOT NULL,
  birth_date        TEXT NOT NULL,               -- YYYY-MM-DD
  mobile            TEXT,
  household_address TEXT,
  status            TEXT NOT NULL,
  insured_since     TEXT NOT NULL,               -- YYYY-MM-DD
  scheme            TEXT NOT NULL,
  employer_code     TEXT,
  updated_at        TEXT NOT NULL,               -- RFC 3339，带时区
  clerk_note        TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS contribution_records (
  person_no       TEXT NOT NULL,
  period          TEXT NOT NULL,                 -- YYYY-MM
  insurance_kind  TEXT NOT NULL,
  base_amount     TEXT NOT NULL,
  personal_amount TEXT NOT NULL,
  employer_amount TEXT NOT NULL,
  settled         INTEGER NOT NULL CHECK (settled IN (0, 1)),
  settled_on      TEXT,
  employer_code   TEXT,
  updated_at      TEXT NOT NULL,
  PRIMARY KEY (person_no, period, insurance_kind)
) STRICT;

CREATE TABLE IF NOT EXISTS benefit_payments (
  payment_id     TEXT PRIMARY KEY NOT NULL,      -- UUID
  person_no      TEXT NOT NULL,
  benefit_kind   TEXT NOT NULL,
  amount         TEXT NOT NULL,
  paid_at        TEXT,
  bank_name      TEXT NOT NULL,
  account_number TEXT NOT NULL,
  remark         TEXT
) STRICT;

INSERT INTO insured_persons VALUES
  ('P00000101', '陈思远', '990102198803150015', '男', '1988-03-15', '13900000101', '示范省云溪市东湖区梧桐路 12 号', '参保缴费', '2011-07-01', '城镇职工', 'E000021', '2026-01-05T09:12:30+08:00', '柜面核验原件'),
  ('P00000102', '林婉清', '990102199207084028', '女', '1992-07-08', '13900000102', '示范省云溪市东湖区学府街 3 号', '参保缴费', '2015-09-01', '城镇职工', 'E000034', '2026-01-05T09:15:02+08:00', NULL),
  ('P00000103', '赵德生', '990103197511232037', '男', '1975-11-23', NULL, '示范省云溪市南屏区渔港村 47 号', '暂停缴费', '1998-03-01', '城镇职工', NULL, '2026-02-11T14:40:00+08:00', '单位注销，待接续'),
  ('P00000104', '何秀兰', '990103196902148073', '女', '1969-02-14', '13900000104', NULL, '待遇领取', '1990-05-01', '城镇职工', NULL, '2026-03-02T10:00:00+08:00', NULL);

INSERT INTO contribution_records VALUES
  ('P00000101', '2026-01', '基本养老保险', '9800.00', '784.00', '1568.00', 1, '2026-01-20', 'E000021', '2026-01-20T16:03:11+08:00'),
  ('P00000101', '2026-01', '失业保险', '9800.00', '49.00', '49.00', 1, '2026-01-20', 'E000021', '2026-01-20T16:03:11+08:00'),
  ('P00000102', '2026-01', '基本养老保险', '12350.50', '988.04', '1976.08', 1, '2026-01-22', 'E000034', '2026-01-22T09:30:45+08:00'),
  ('P00000102', '2026-02', '基本养老保险', '12350.50', '988.04', '1976.08', 0, NULL, 'E000034', '2026-02-24T11:20:00+08:00');

INSERT INTO benefit_payments VALUES
  ('0f6b2a54-7a51-4b6e-9c1d-2f0a63d1e001', 'P00000104', '养老金', '3862.17', '2026-03-15T02:00:00+08:00', '云溪农商银行', '9900000000000000104', NULL),
  ('0f6b2a54-7a51-4b6e-9c1d-2f0a63d1e002', 'P00000103', '失业保险金', '1890.00', '2026-03-16T02:00:00+08:00', '示范城市银行', '9900000000000000103', '第 2 期，共 12 期'),
  ('0f6b2a54-7a51-4b6e-9c1d-2f0a63d1e003', 'P00000104', '养老金', '3862.17', NULL, '云溪农商银行', '9900000000000000104', '账户待核实，暂缓发放');
