-- 税务部门示例库。纳税人、证件号码均为虚构。
-- SQLite 3.37 起。金额以 TEXT 存放：NUMERIC 列会把 '12.30' 变成二进制浮点数。
PRAGMA journal_mode = WAL;

CREATE TABLE IF NOT EXISTS taxpayers (
  taxpayer_no       TEXT PRIMARY KEY NOT NULL,
  taxpayer_name     TEXT NOT NULL,
  taxpayer_kind     TEXT NOT NULL,
  region_code       INTEGER NOT NULL,
  industry_code     TEXT,
  registered_on     TEXT NOT NULL,               -- YYYY-MM-DD
  active            INTEGER NOT NULL CHECK (active IN (0, 1)),
  representative    TEXT NOT NULL,
  representative_id TEXT,
  phone             TEXT,
  address           TEXT,
  risk_score        REAL
) STRICT;

CREATE TABLE IF NOT EXISTS declarations (
  declaration_id    INTEGER PRIMARY KEY NOT NULL,
  taxpayer_no       TEXT NOT NULL,
  tax_kind          TEXT NOT NULL,
  period            TEXT NOT NULL,               -- YYYY-MM
  submitted_at      TEXT NOT NULL,               -- RFC 3339，带时区
  taxable_income    TEXT NOT NULL,
  tax_due           TEXT NOT NULL,
  relief            TEXT,
  children          INTEGER,
  school_code       TEXT,
  monthly_deduction TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS payments (
  payment_id     INTEGER PRIMARY KEY NOT NULL,
  taxpayer_no    TEXT NOT NULL,
  tax_kind       TEXT NOT NULL,
  paid_on        TEXT NOT NULL,                  -- YYYY-MM-DD
  channel        TEXT NOT NULL,
  receipt_digest BLOB,
  amount         TEXT NOT NULL,
  late_fee       TEXT
) STRICT;

INSERT INTO taxpayers VALUES
  ('T9901000021', '云溪市青禾电子有限公司', '企业', 990102, 'C3989', '2009-04-18', 1, '周立群', '990102197106164011', '05990000021', '示范省云溪市东湖区创业大道 8 号', 12.5),
  ('T9901000034', '云溪市学府书店', '个体工商户', 990102, 'F5243', '2014-08-26', 1, '林婉清', '990102199207084028', '13900000102', '示范省云溪市东湖区学府街 3 号', NULL),
  ('T9901000047', '南屏渔业专业合作社', '农民专业合作社', 990103, NULL, '2017-12-01', 0, '赵德生', NULL, NULL, NULL, 40.25);

INSERT INTO declarations VALUES
  (700001, 'T9901000021', '企业所得税', '2026-03', '2026-04-12T10:21:07+08:00', '1260000.00', '315000.00', '47250.00', NULL, NULL, NULL),
  (700002, 'T9901000034', '增值税', '2026-03', '2026-04-14T15:02:40+08:00', '86500.00', '865.00', '865.00', NULL, NULL, NULL),
  (700003, 'P00000101', '个人所得税', '2026-03', '2026-04-03T08:55:59.250+08:00', '9800.00', '114.00', NULL, 1, 'S990102007', '2000.00'),
  (700004, 'P00000102', '个人所得税', '2026-03', '2026-04-03T09:01:12+08:00', '12350.50', '190.52', NULL, 2, 'S990102007', '4000.00');

INSERT INTO payments VALUES
  (810001, 'T9901000021', '企业所得税', '2026-04-15', '三方协议扣款', x'5f2c6a0e9b7d41c3a8e6f0d1b2c3948576a1b0c9d8e7f6051423324150617283', '267750.00', NULL),
  (810002, 'T9901000047', '增值税', '2026-04-20', '银行端查询缴税', NULL, '1320.00', '6.60'),
  (810003, 'E000021', '社会保险费', '2026-01-20', '三方协议扣款', x'00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff', '2450.00', NULL);
