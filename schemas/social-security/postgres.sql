-- 人社部门示例库。人员、单位、证件号码均为虚构（行政区划 9901 不存在）。
-- PostgreSQL 14 起；与 sample.sql 相同的表和行，列用 PostgreSQL 自己的类型。

CREATE TABLE public.insured_persons (
  person_no         varchar(20) PRIMARY KEY,
  full_name         text NOT NULL,
  id_number         text NOT NULL,
  sex               char(1) NOT NULL,
  birth_date        date NOT NULL,
  mobile            text,
  household_address text,
  status            text NOT NULL,
  insured_since     date NOT NULL,
  scheme            text NOT NULL,
  employer_code     text,
  updated_at        timestamptz NOT NULL,
  clerk_note        text
);

CREATE TABLE public.contribution_records (
  person_no       varchar(20) NOT NULL,
  period          char(7) NOT NULL,
  insurance_kind  text NOT NULL,
  base_amount     numeric(14,2) NOT NULL,
  personal_amount numeric(14,2) NOT NULL,
  employer_amount numeric(14,2) NOT NULL,
  settled         boolean NOT NULL,
  settled_on      date,
  employer_code   text,
  updated_at      timestamptz NOT NULL,
  PRIMARY KEY (person_no, period, insurance_kind)
);

CREATE TABLE public.benefit_payments (
  payment_id     uuid PRIMARY KEY,
  person_no      varchar(20) NOT NULL,
  benefit_kind   text NOT NULL,
  amount         numeric(14,2) NOT NULL,
  paid_at        timestamptz,
  bank_name      text NOT NULL,
  account_number text NOT NULL,
  remark         text
);

INSERT INTO public.insured_persons VALUES
  ('P00000101', '陈思远', '990102198803150015', '男', '1988-03-15', '13900000101', '示范省云溪市东湖区梧桐路 12 号', '参保缴费', '2011-07-01', '城镇职工', 'E000021', '2026-01-05T09:12:30+08:00', '柜面核验原件'),
  ('P00000102', '林婉清', '990102199207084028', '女', '1992-07-08', '13900000102', '示范省云溪市东湖区学府街 3 号', '参保缴费', '2015-09-01', '城镇职工', 'E000034', '2026-01-05T09:15:02+08:00', NULL),
  ('P00000103', '赵德生', '990103197511232037', '男', '1975-11-23', NULL, '示范省云溪市南屏区渔港村 47 号', '暂停缴费', '1998-03-01', '城镇职工', NULL, '2026-02-11T14:40:00+08:00', '单位注销，待接续'),
  ('P00000104', '何秀兰', '990103196902148073', '女', '1969-02-14', '13900000104', NULL, '待遇领取', '1990-05-01', '城镇职工', NULL, '2026-03-02T10:00:00+08:00', NULL);

INSERT INTO public.contribution_records VALUES
  ('P00000101', '2026-01', '基本养老保险', '9800.00', '784.00', '1568.00', true, '2026-01-20', 'E000021', '2026-01-20T16:03:11+08:00'),
  ('P00000101', '2026-01', '失业保险', '9800.00', '49.00', '49.00', true, '2026-01-20', 'E000021', '2026-01-20T16:03:11+08:00'),
  ('P00000102', '2026-01', '基本养老保险', '12350.50', '988.04', '1976.08', true, '2026-01-22', 'E000034', '2026-01-22T09:30:45+08:00'),
  ('P00000102', '2026-02', '基本养老保险', '12350.50', '988.04', '1976.08', false, NULL, 'E000034', '2026-02-24T11:20:00+08:00');

INSERT INTO public.benefit_payments VALUES
  ('0f6b2a54-7a51-4b6e-9c1d-2f0a63d1e001', 'P00000104', '养老金', '3862.17', '2026-03-15T02:00:00+08:00', '云溪农商银行', '9900000000000000104', NULL),
  ('0f6b2a54-7a51-4b6e-9c1d-2f0a63d1e002', 'P00000103', '失业保险金', '1890.00', '2026-03-16T02:00:00+08:00', '示范城市银行', '9900000000000000103', '第 2 期，共 12 期'),
  ('0f6b2a54-7a51-4b6e-9c1d-2f0a63d1e003', 'P00000104', '养老金', '3862.17', NULL, '云溪农商银行', '9900000000000000104', '账户待核实，暂缓发放');
