-- 税务部门示例库。纳税人、证件号码均为虚构。
-- PostgreSQL 14 起；与 sample.sql 相同的表和行，列用 PostgreSQL 自己的类型。

CREATE TABLE public.taxpayers (
  taxpayer_no       varchar(20) PRIMARY KEY,
  taxpayer_name     text NOT NULL,
  taxpayer_kind     text NOT NULL,
  region_code       integer NOT NULL,
  industry_code     text,
  registered_on     date NOT NULL,
  active            boolean NOT NULL,
  representative    text NOT NULL,
  representative_id text,
  phone             text,
  address           text,
  risk_score        double precision
);

CREATE TABLE public.declarations (
  declaration_id    bigint PRIMARY KEY,
  taxpayer_no       varchar(20) NOT NULL,
  tax_kind          text NOT NULL,
  period            char(7) NOT NULL,
  submitted_at      timestamptz NOT NULL,
  taxable_income    numeric(16,2) NOT NULL,
  tax_due           numeric(16,2) NOT NULL,
  relief            numeric(16,2),
  children          integer,
  school_code       varchar(16),
  monthly_deduction numeric(10,2)
);

CREATE TABLE public.payments (
  payment_id     bigint PRIMARY KEY,
  taxpayer_no    varchar(20) NOT NULL,
  tax_kind       text NOT NULL,
  paid_on        date NOT NULL,
  channel        text NOT NULL,
  receipt_digest bytea,
  amount         numeric(14,2) NOT NULL,
  late_fee       numeric(14,2)
);

INSERT INTO public.taxpayers VALUES
  ('T9901000021', '云溪市青禾电子有限公司', '企业', 990102, 'C3989', '2009-04-18', true, '周立群', '990102197106164011', '05990000021', '示范省云溪市东湖区创业大道 8 号', 12.5),
  ('T9901000034', '云溪市学府书店', '个体工商户', 990102, 'F5243', '2014-08-26', true, '林婉清', '990102199207084028', '13900000102', '示范省云溪市东湖区学府街 3 号', NULL),
  ('T9901000047', '南屏渔业专业合作社', '农民专业合作社', 990103, NULL, '2017-12-01', false, '赵德生', NULL, NULL, NULL, 40.25);

INSERT INTO public.declarations VALUES
  (700001, 'T9901000021', '企业所得税', '2026-03', '2026-04-12T10:21:07+08:00', '1260000.00', '315000.00', '47250.00', NULL, NULL, NULL),
  (700002, 'T9901000034', '增值税', '2026-03', '2026-04-14T15:02:40+08:00', '86500.00', '865.00', '865.00', NULL, NULL, NULL),
  (700003, 'P00000101', '个人所得税', '2026-03', '2026-04-03T08:55:59.250+08:00', '9800.00', '114.00', NULL, 1, 'S990102007', '2000.00'),
  (700004, 'P00000102', '个人所得税', '2026-03', '2026-04-03T09:01:12+08:00', '12350.50', '190.52', NULL, 2, 'S990102007', '4000.00');

INSERT INTO public.payments VALUES
  (810001, 'T9901000021', '企业所得税', '2026-04-15', '三方协议扣款', '\x5f2c6a0e9b7d41c3a8e6f0d1b2c3948576a1b0c9d8e7f6051423324150617283', '267750.00', NULL),
  (810002, 'T9901000047', '增值税', '2026-04-20', '银行端查询缴税', NULL, '1320.00', '6.60'),
  (810003, 'E000021', '社会保险费', '2026-01-20', '三方协议扣款', '\x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff', '2450.00', NULL);
